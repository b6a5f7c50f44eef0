"""The list of orders that need a person, on every database: what it holds, and in which order."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.support.reconciling import Workbench, item
from worker.domain.records.orders import Attention, OrderState
from worker.views.order import Row
from worker.views.orders import ANY_REASON, OrderSearch, count_found
from worker.views.page import Page
from worker.web.console.todo import orders_to_work_on

ANY = list(Attention)
REASONS = ("too_old", "amount_mismatch", "late_conflict")


@pytest.fixture
def filled(bench: Workbench) -> Workbench:
    """Twelve orders, submitted an hour apart, the first the longest ago; each fourth needs no person."""
    for number in range(12):
        bench.add(str(number), age_seconds=3600.0 * (12 - number), expected_amount="2.00")
        if number % 4:
            bench.run(
                "UPDATE recharge_orders SET attention = :reason, state = 'unresolved' WHERE request_id = :name",
                reason=REASONS[number % 4 - 1],
                name=str(number),
            )
    return bench


def page(bench: Workbench, wanted: OrderSearch, after: int | None = None, most: int = 50) -> Page[Row]:
    with bench.database.snapshot() as connection:
        needed = replace(wanted, attention=wanted.attention or ANY_REASON)
        return orders_to_work_on(connection, needed, after=after, most=most)


def names(bench: Workbench, wanted: OrderSearch) -> list[str]:
    return [row["request_id"] for row in page(bench, wanted).rows]


NEWEST = ["11", "10", "9", "7", "6", "5", "3", "2", "1"]


def test_it_has_the_orders_of_every_reason_newest_or_oldest_first(filled: Workbench) -> None:
    assert names(filled, OrderSearch()) == NEWEST
    assert names(filled, OrderSearch(is_oldest_first=True)) == NEWEST[::-1]


def test_unresolved_orders_without_a_reason_are_in_it(filled: Workbench) -> None:
    filled.run("UPDATE recharge_orders SET attention = NULL WHERE request_id IN ('11', '6', '1')")
    filled.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id IN ('1', '6', '2')")
    assert names(filled, OrderSearch()) == NEWEST
    assert names(filled, OrderSearch(is_oldest_first=True)) == NEWEST[::-1]
    assert names(filled, OrderSearch(attention=[None])) == ["11", "6", "1"]
    assert names(filled, OrderSearch(attention=[None], accounts=["shop"])) == ["6", "1"]
    assert names(filled, OrderSearch(attention=[None], states=[OrderState.UNRESOLVED])) == ["11", "6", "1"]
    assert names(filled, OrderSearch(attention=[None], states=[OrderState.PENDING])) == []
    assert names(filled, OrderSearch(accounts=["shop"])) == ["6", "2", "1"]
    until = filled.order("9").submitted_at
    assert names(filled, OrderSearch(attention=[Attention.LATE_CONFLICT, None], until=until)) == ["7", "6", "3", "1"]


def test_it_is_narrowed_by_reason_account_state_and_time(filled: Workbench) -> None:
    filled.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id IN ('1', '9', '8')")
    filled.run("UPDATE recharge_orders SET state = 'cancelled' WHERE request_id = '2'")
    assert names(filled, OrderSearch(attention=[Attention.TOO_OLD])) == ["9", "5", "1"]
    assert names(filled, OrderSearch(accounts=["shop"])) == ["9", "1"]
    assert names(filled, OrderSearch(states=[OrderState.CANCELLED])) == ["2"]
    since, until = (filled.order(name).submitted_at for name in ("3", "9"))
    assert names(filled, OrderSearch(since=since, until=until, is_oldest_first=True)) == ["3", "5", "6", "7"]


@pytest.mark.parametrize("is_of_one_moment", [False, True])
@pytest.mark.parametrize("is_oldest_first", [False, True])
def test_its_pages_go_through_all_of_it(filled: Workbench, is_oldest_first: bool, is_of_one_moment: bool) -> None:
    filled.run("UPDATE recharge_orders SET attention = NULL WHERE request_id IN ('1', '2', '6', '11')")
    filled.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id IN ('1', '6', '7')")
    if is_of_one_moment:
        # The ids keep them apart.
        filled.run("UPDATE recharge_orders SET submitted_at = :at", at="2016-01-31 10:00:00.000000")
    wanted, expected = OrderSearch(is_oldest_first=is_oldest_first), NEWEST[::-1] if is_oldest_first else NEWEST
    found, after = [], None
    while True:
        part = page(filled, wanted, after, most=4)
        found += [row["request_id"] for row in part.rows]
        if (after := part.next_after) is None:
            break
    assert found == expected


def test_the_next_order_is_found_from_one_that_has_left_the_list(filled: Workbench) -> None:
    order = filled.order("6")
    filled.run("UPDATE recharge_orders SET attention = NULL, state = 'cancelled' WHERE request_id = '6'")
    for wanted, following in ((OrderSearch(), "5"), (OrderSearch(attention=[Attention.LATE_CONFLICT]), "3")):
        assert [row["request_id"] for row in page(filled, wanted, order.id, most=1).rows] == [following]


def test_an_order_says_what_it_costs_and_what_the_platform_said_last(bench: Workbench) -> None:
    bench.add("1", "2", "3", expected_amount="2.00")
    bench.reconcile([item("1", remark="done"), item("2", status="0", remark="queued")])
    bench.make_due()
    bench.clock.advance(bench.rules.window_seconds)
    bench.let_slots_be_due()
    bench.reconcile([item("2", status="9", remark="who knows")])
    bench.run("UPDATE recharge_orders SET attention = 'too_old' WHERE request_id = '3'")
    rows = {row["request_id"]: row for row in page(bench, OrderSearch()).rows}
    assert {name: (row["due"], row["charged"], row["difference"]) for name, row in rows.items()} == {
        "1": (Decimal("2.00"), Decimal("2.94"), Decimal("0.94")),
        "2": (Decimal("2.00"), None, None),
        "3": (Decimal("2.00"), None, None),
    }
    said = {name: row["heard"] and (row["heard"]["traffic_sts"], row["heard"]["remark"]) for name, row in rows.items()}
    assert said == {"1": ("1", "done"), "2": ("9", "who knows"), "3": None}


def test_its_orders_are_counted_up_to_a_number(filled: Workbench) -> None:
    filled.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id IN ('1', '9', '8')")
    filled.run("UPDATE recharge_orders SET attention = NULL WHERE request_id IN ('11', '6')")
    late = filled.order("9").submitted_at - timedelta(seconds=1)
    searches = {
        "any": OrderSearch(attention=ANY),
        "any or none": OrderSearch(attention=[*ANY, None]),
        "none": OrderSearch(attention=[None]),
        "of an account": OrderSearch(attention=[*ANY, None], accounts=["shop"]),
        "late": OrderSearch(attention=[*ANY, None], since=late),
    }
    with filled.database.snapshot() as connection:
        assert {name: count_found(connection, wanted, 100) for name, wanted in searches.items()} == {
            **{"any": 7, "any or none": 9, "none": 2, "of an account": 2, "late": 3},
        }
        assert {name: count_found(connection, wanted, 2) for name, wanted in searches.items()} == dict.fromkeys(
            searches, 2
        )
