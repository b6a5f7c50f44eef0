"""Cancelling orders, and polling some of them next."""

import json
from datetime import UTC, datetime

import pytest

from tests.support.reconciling import Workbench, answer_to, errors_of, item
from tests.support.sql import statements_of
from worker.database.tables import REJECTED
from worker.domain.records.accounts import Rules

MOBILE = "18812340804"

pytestmark = pytest.mark.workbench(rules=Rules(grace_seconds=1.0, batch_size=4))


def references(*names: str) -> list[object]:
    return [{"request_id": name} for name in names]


def states_of(bench: Workbench) -> dict[str | None, str]:
    return {order.request_id or order.custom_parm: order.state.value for order in bench.orders()}


def settle_three(bench: Workbench) -> None:
    """One order in each state."""
    bench.add("pending", "succeeded", "failed", "unresolved", "cancelled")
    for state, more in (("succeeded", ", settled_at = created_at"), ("failed", ", settled_at = created_at")):
        bench.run(f"UPDATE recharge_orders SET state = '{state}'{more} WHERE request_id = '{state}'")
    for state in ("unresolved", "cancelled"):
        bench.run(f"UPDATE recharge_orders SET state = '{state}' WHERE request_id = '{state}'")


def test_orders_that_may_still_settle_are_cancelled_and_final_ones_stay(bench: Workbench) -> None:
    settle_three(bench)
    listed = references("pending", "succeeded", "failed", "unresolved", "cancelled", "pending")
    assert bench.intake.cancel_orders(listed) == {"cancelled": 2, "unchanged": 4, "rejected": []}
    assert states_of(bench) == {
        "pending": "cancelled",
        "succeeded": "succeeded",
        "failed": "failed",
        "unresolved": "cancelled",
        "cancelled": "cancelled",
    }
    (recorded,) = bench.events_of("pending")
    assert (recorded["kind"], recorded["source"], recorded["from_state"], recorded["to_state"]) == (
        "cancelled",
        "billing",
        "pending",
        "cancelled",
    )
    assert bench.intake.cancel_orders(listed) == {"cancelled": 0, "unchanged": 6, "rejected": []}


def test_a_cancelled_order_is_not_polled_and_a_late_result_only_flags_it(bench: Workbench) -> None:
    bench.add("r1", "r2")
    query = bench.take()
    assert bench.intake.cancel_orders(references("r1")) == {"cancelled": 1, "unchanged": 0, "rejected": []}
    bench.write_back.answered(query, answer_to(query, [item("r1"), item("r2")]))
    assert states_of(bench) == {"r1": "cancelled", "r2": "succeeded"}
    bench.make_due()
    bench.clock.advance(bench.rules.spacing_seconds)
    assert bench.grants.take(bench.slot) is None


def test_an_order_is_named_by_either_id_within_its_account(bench: Workbench) -> None:
    bench.enqueue({"request_id": "r1", "custom_parm": "c1"}, {"custom_parm": "c2", "mobile": MOBILE})
    listed: list[object] = [{"custom_parm": "c1"}, {"custom_parm": "c2", "account": "default"}]
    assert bench.intake.cancel_orders(listed)["cancelled"] == 2


@pytest.mark.parametrize("operation", ["cancel_orders", "check_orders"])
def test_a_reference_that_names_no_order_is_refused_and_kept(bench: Workbench, operation: str) -> None:
    bench.enqueue({"request_id": "r1", "custom_parm": "c1"}, {"custom_parm": "c2", "mobile": MOBILE})
    listed: list[object] = [
        {"request_id": "R1"},
        {"request_id": "c1"},
        {"request_id": "r1", "account": "nobody"},
        {"request_id": "r1", "custom_parm": "c2"},
        {"account": "default"},
        {"request_id": "r1", "mobile": MOBILE},
        "r1",
        None,
        {"request_id": "r1"},
    ]
    answer = getattr(bench.intake, operation)(listed)
    assert list(errors_of(answer)) == list(range(8))
    kept = bench.rows(REJECTED)
    assert sorted(row["payload"] for row in kept) == sorted(map(json.dumps, listed[:8]))
    assert {row["source"] for row in kept} == {f"reconciler.{operation}"}
    assert answer["cancelled" if operation == "cancel_orders" else "queued"] == 1


def test_a_checked_order_is_due_now_and_goes_before_older_ones(bench: Workbench) -> None:
    bench.add("old1", "old2", "old3", "old4", age_seconds=7200)
    bench.add("new1", "new2", age_seconds=0)
    assert bench.intake.check_orders(references("new2")) == {"queued": 1, "rejected": []}
    order = bench.order("new2")
    assert order.due_at <= datetime.now(UTC)
    assert order.check_requested_at is not None
    assert bench.order("new1").check_requested_at is None
    query = bench.take()
    assert query.ids[0] == "new2"
    assert set(query.ids) == {"new2", "old1", "old2", "old3"}


def test_a_check_costs_no_slot_of_its_own_and_is_done_once_answered(bench: Workbench) -> None:
    bench.add("r1", age_seconds=0)
    bench.intake.check_orders(references("r1"))
    bench.reconcile([item("r1", "0", None)])
    assert bench.order("r1").check_requested_at is None
    bench.intake.check_orders(references("r1"))
    bench.reconcile([item("r1")])
    assert states_of(bench) == {"r1": "succeeded"}


@pytest.mark.parametrize("operation", ["cancel_orders", "check_orders"])
def test_a_list_needs_a_few_statements_however_long_it_is(bench: Workbench, operation: str) -> None:
    def statements(first: int, last: int) -> int:
        listed = references(*(f"{kind}{number}" for number in range(first, last) for kind in ("known", "unknown")))
        with statements_of(bench.database.engine) as executed:
            answer = getattr(bench.intake, operation)(listed)
        assert len(answer["rejected"]) == last - first
        return len(executed)

    bench.add(*(f"known{number}" for number in range(301)))
    assert statements(0, 1) == statements(1, 301) <= 8
