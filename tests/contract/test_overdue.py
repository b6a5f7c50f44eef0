"""Orders that are pending long past the age limit, on every database."""

import pytest

from tests.support.reconciling import Workbench
from worker.domain.records.accounts import Pause, Rules
from worker.domain.records.orders import Attention, OrderState
from worker.operations.upkeep import MOST_FLAGGED, OverdueOrders

RULES = Rules(grace_seconds=1.0, unresolved_after_seconds=3_600.0)
LONG_AGO = 3_600.0 + 60 * 60.0 + 5.0


pytestmark = pytest.mark.workbench(rules=RULES, app_ids={"default": "app-1", "paused": "app-2"})


def flagged(bench: Workbench) -> list[str | None]:
    return [change.after.request_id for change in OverdueOrders(bench.database, bench.rules).flag()]


def test_orders_of_any_account_are_flagged_once_and_stay_pending(bench: Workbench) -> None:
    bench.add("young", age_seconds=LONG_AGO - 60.0)
    bench.add("silent", age_seconds=LONG_AGO)
    bench.add("of-a-paused-account", age_seconds=LONG_AGO, account="paused")
    bench.put_pauses(Pause(paused_at=bench.now()), account="paused")
    bench.run("UPDATE recharge_orders SET account = 'gone' WHERE request_id = 'silent'")

    assert sorted(flagged(bench), key=str) == ["of-a-paused-account", "silent"]
    assert flagged(bench) == []
    assert {order.request_id: (order.state, order.attention) for order in bench.orders()} == {
        "young": (OrderState.PENDING, None),
        "silent": (OrderState.PENDING, Attention.TOO_OLD),
        "of-a-paused-account": (OrderState.PENDING, Attention.TOO_OLD),
    }
    (event,) = bench.events_of("silent")
    assert (event["kind"], event["source"], event["to_state"]) == ("overdue", "worker", "pending")


def test_a_bounded_number_is_flagged_at_a_time(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(MOST_FLAGGED + 5)), age_seconds=LONG_AGO)
    assert [len(flagged(bench)) for _ in range(3)] == [MOST_FLAGGED, 5, 0]


def test_a_row_that_is_locked_is_skipped(bench: Workbench) -> None:
    if bench.database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    bench.add("held", "free", age_seconds=LONG_AGO)
    held = bench.order("held").id
    with bench.database.write() as connection:
        connection.exec_driver_sql(f"SELECT id FROM recharge_orders WHERE id = {held} FOR UPDATE")
        assert flagged(bench) == ["free"]
    assert flagged(bench) == ["held"]


def test_a_tick_flags_them_once_a_window(bench: Workbench) -> None:
    overdue = OverdueOrders(bench.database, bench.rules)
    assert overdue.flag_some() == 0
    bench.add("late", age_seconds=LONG_AGO)
    assert overdue.flag_some() == 0
    assert OverdueOrders(bench.database, bench.rules).flag_some() == 1
