"""Orders that are pending long past the age limit, on every database."""

from collections.abc import Iterator

import pytest

from tests.support.reconciling import Workbench
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.parameters import Rules
from worker.operations.flag_overdue import MOST_AT_ONCE, OverdueOrders

RULES = Rules(grace_seconds=1.0, unresolved_after_seconds=3_600.0)
LONG_AGO = 3_600.0 + 60 * 60.0 + 5.0


@pytest.fixture
def old(migrated_database_url: str) -> Iterator[Workbench]:
    bench = Workbench(migrated_database_url, RULES, app_ids={"default": "app-1", "paused": "app-2"}).open()
    yield bench
    bench.close()


def flagged(bench: Workbench) -> list[str | None]:
    return [change.after.request_id for change in OverdueOrders(bench.database, bench.rules).flag()]


def test_orders_of_any_account_are_flagged_once_and_stay_pending(old: Workbench) -> None:
    old.add("young", age_seconds=LONG_AGO - 60.0)
    old.add("silent", age_seconds=LONG_AGO)
    old.add("of-a-paused-account", age_seconds=LONG_AGO, account="paused")
    old.run("UPDATE account_states SET paused_at = '2026-01-31 12:00:00' WHERE account = 'paused'")
    old.run("UPDATE recharge_orders SET account = 'gone' WHERE request_id = 'silent'")

    assert sorted(flagged(old), key=str) == ["of-a-paused-account", "silent"]
    assert flagged(old) == []
    assert {order.request_id: (order.state, order.attention) for order in old.orders()} == {
        "young": (OrderState.PENDING, None),
        "silent": (OrderState.PENDING, Attention.TOO_OLD),
        "of-a-paused-account": (OrderState.PENDING, Attention.TOO_OLD),
    }
    (event,) = old.events_of("silent")
    assert (event["kind"], event["source"], event["to_state"]) == ("overdue", "worker", "pending")


def test_a_bounded_number_is_flagged_at_a_time(old: Workbench) -> None:
    old.add(*(f"r{number}" for number in range(MOST_AT_ONCE + 5)), age_seconds=LONG_AGO)
    assert [len(flagged(old)) for _ in range(3)] == [MOST_AT_ONCE, 5, 0]


def test_a_row_that_is_locked_is_skipped(old: Workbench) -> None:
    if old.database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    old.add("held", "free", age_seconds=LONG_AGO)
    held = old.order("held").id
    with old.database.write() as connection:
        connection.exec_driver_sql(f"SELECT id FROM recharge_orders WHERE id = {held} FOR UPDATE")
        assert flagged(old) == ["free"]
    assert flagged(old) == ["held"]


def test_a_tick_flags_them_once_a_window(old: Workbench) -> None:
    overdue = OverdueOrders(old.database, old.rules)
    assert overdue.flag_some() == 0
    old.add("late", age_seconds=LONG_AGO)
    assert overdue.flag_some() == 0
    assert OverdueOrders(old.database, old.rules).flag_some() == 1
