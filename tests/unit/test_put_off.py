"""Lists of which some orders are locked, and a process's patience with them."""

from typing import Any

import pytest

from worker.database.transactions import HeldOrders
from worker.put_off import Patience


class Intake:
    """Takes in lists of numbers as ids. Some are held; each list and what it holds is noted, and "bad" is refused."""

    def __init__(self, *held: str) -> None:
        self.held = set(held)
        self.tries: list[Any] = []

    def take(self, items: Any) -> dict[str, Any]:
        self.tries.append(items)
        if named := {item["request_id"] for item in items if isinstance(item, dict)} & self.held:
            raise HeldOrders(frozenset(named))
        refused = [{"index": index, "errors": ["no"]} for index, item in enumerate(items) if item == "bad"]
        return {"accepted": len(items) - len(refused), "rejected": refused}


def named(*ids: str) -> list[dict[str, str]]:
    return [{"request_id": name} for name in ids]


def test_what_is_free_is_taken_in_and_the_rest_is_put_off() -> None:
    intake = Intake("b", "d")
    answer, put_off = Patience().take_in(intake.take, named("a", "b", "c", "d"))
    assert (answer["accepted"], put_off) == (2, named("b", "d"))
    assert intake.tries[-1] == named("a", "c")


def test_refused_items_are_numbered_as_they_were_sent() -> None:
    answer, put_off = Patience().take_in(Intake("a").take, [*named("a"), "bad", *named("b"), "bad"])
    assert [one["index"] for one in answer["rejected"]] == [1, 3]
    assert put_off == named("a")


def test_without_locked_orders_the_list_is_passed_on_as_it_came() -> None:
    intake, items = Intake(), named("a")
    assert Patience().take_in(intake.take, items) == ({"accepted": 1, "rejected": []}, [])
    assert intake.tries[0] is items


@pytest.mark.parametrize("items", [named("a"), named("a", "b"), "no list"])
def test_where_all_would_be_put_off_nothing_is_answered(items: Any) -> None:
    def take(_: object) -> dict[str, Any]:
        raise HeldOrders(frozenset({"a", "b"}))

    with pytest.raises(HeldOrders):
        Patience().take_in(take, items)


def test_a_lock_that_is_released_soon_is_waited_for() -> None:
    intake = Intake("a")

    def take(items: object) -> dict[str, Any]:
        if len(intake.tries) == 2:
            intake.held.clear()
        return intake.take(items)

    answer, put_off = Patience().take_in(take, named("a", "b"))
    assert (answer["accepted"], put_off) == (2, [])


def test_after_a_wait_in_vain_no_list_waits_for_a_while_whichever_orders_it_names() -> None:
    patience, first, second = Patience(), Intake("a"), Intake("b")
    patience.take_in(first.take, named("a", "c"))
    assert len(first.tries) > 2
    patience.take_in(second.take, named("b", "c"))
    assert second.tries == [named("b", "c"), named("c")]


def test_orders_that_are_locked_meanwhile_are_put_off_as_well() -> None:
    held = iter([frozenset({"a"}), frozenset({"b"})])
    patience = Patience()
    with pytest.raises(HeldOrders):
        patience.take_in(Intake("a").take, named("a"))

    def take(items: Any) -> dict[str, Any]:
        if names := next(held, None):
            raise HeldOrders(names)
        return {"accepted": len(items), "rejected": []}

    answer, put_off = patience.take_in(take, named("a", "b", "c"))
    assert (answer["accepted"], put_off) == (1, named("a", "b"))


def test_a_callback_is_put_off_by_either_id_and_by_a_number_too() -> None:
    items = [{"requestId": 17, "trafficSts": "1"}, {"customParm": "c"}, {"requestId": "18"}]

    def take(left: Any) -> dict[str, Any]:
        if len(left) == 3:
            raise HeldOrders(frozenset({"17", "c"}))
        return {"settled": len(left), "rejected": []}

    assert Patience().take_in(take, items) == ({"settled": 1, "rejected": []}, items[:2])
