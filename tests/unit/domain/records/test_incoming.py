"""Which items of a list are put off, as somebody else holds orders locked."""

from tests.unit.domain.builders import make_order
from worker.domain.records.incoming import HeldName, HeldOrders
from worker.domain.records.orders import OrderKey

Named = tuple[int, OrderKey]


def named(*ids: tuple[str | None, str | None], account: str = "default") -> list[Named]:
    """Items that name an order each, by request_id and custom_parm. Those of no account may be of any."""
    keys = [OrderKey(account=account, request_id=one, custom_parm=other) for one, other in ids]
    return list(enumerate(keys))


def free_of(held: HeldOrders, items: list[Named]) -> list[int]:
    """The indexes of the items that are not put off."""
    return [index for index, _ in held.sort_out(items, lambda item: [item[1]])]


def held_order(request_id: str | None, custom_parm: str | None = None) -> HeldOrders:
    held = HeldOrders()
    assert held.orders is not None
    held.orders.append(make_order(1, request_id=request_id, custom_parm=custom_parm))
    return held


def test_without_a_held_order_nothing_is_put_off() -> None:
    items = named(("r1", None), ("r1", "c1"))
    for held in (HeldOrders(), HeldOrders(are_waited_for=True)):
        assert held.sort_out(items, lambda item: [item[1]]) is items
        assert held.put_off == []


def test_what_names_a_held_order_by_either_id_is_put_off() -> None:
    held = held_order("r1", "c1")
    assert free_of(held, named(("r1", None), ("r2", None), (None, "c1"), ("r3", "c3"))) == [1, 3]
    assert held.put_off == [0, 2]


def test_an_id_of_another_account_is_another_order() -> None:
    assert free_of(held_order("r1"), named(("r1", None), account="other")) == [0]


def test_what_shares_an_id_with_an_earlier_item_that_is_put_off_is_put_off_too_and_so_on() -> None:
    held = held_order("r1")
    assert free_of(held, named((None, "c1"), ("r1", "c1"), ("r2", "c1"), ("r2", None), ("r3", None))) == [0, 4]
    assert held.put_off == [1, 2, 3]


def test_an_item_that_may_be_of_any_account_is_put_off_for_an_order_of_one() -> None:
    assert free_of(held_order("r1"), named(("r1", None), ("r2", None), account="")) == [1]


def test_what_shares_an_id_with_a_waiting_item_of_any_account_is_put_off_in_every_account() -> None:
    held = held_order("r1")
    assert free_of(held, named(("r1", "c1"), account="")) == []
    assert free_of(held, named((None, "c1"), (None, "c2"), account="other")) == [1]


def test_an_item_that_may_be_about_several_orders_is_put_off_for_any_of_them() -> None:
    held = held_order("r1")
    items = named(("r2", None))
    assert held.sort_out(items, lambda item: [item[1], OrderKey(account="default", request_id="r1")]) == []


def test_ids_for_which_one_list_waits_are_waited_for_by_the_next() -> None:
    left: set[HeldName] = set()
    first = HeldOrders(left)
    assert first.orders is not None
    first.orders.append(make_order(1, request_id="r1", custom_parm="c1"))
    assert free_of(first, named(("r1", "c9"), ("r2", None))) == [1]
    assert free_of(HeldOrders(left), named((None, "c1"), (None, "c9"), ("r2", None))) == [2]


def test_items_that_are_not_read_are_waited_for_by_whatever_they_may_name() -> None:
    held = HeldOrders()
    held.hold_unread([{"requestId": "r1", "customParm": "c1"}, "no object", {"requestId": 17}])
    assert free_of(held, named(("r1", None), (None, "c1"), ("17", None), ("r2", None))) == [3]
    assert free_of(held, named(("r1", None), account="other")) == []
    assert free_of(held, named(("r1", None), account="")) == []
