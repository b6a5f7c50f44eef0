"""A grant for orders that a person has named: the budget is as ever, and of final orders only the history grows."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from tests.support.reconciling import Workbench, answer_to, item
from worker.database.tables import ACTS, QUERIES
from worker.domain.records.accounts import Pause
from worker.domain.records.incoming import Refused
from worker.domain.records.orders import Attention, Lane, OrderState
from worker.domain.records.queries import Query
from worker.operations.act_by_hand import Operator
from worker.operations.reserve_slot import Grants, choose_named

LANES = {"alone": Lane.ALONE.value, "suspect": Lane.LONE_SUSPECT.value}
ANN = Operator(name="ann", reason="first contact")


def take(bench: Workbench, *names: str) -> Query | None:
    """The slot, for these orders."""
    choose = partial(choose_named, ids=[bench.order(name).id for name in names], by=ANN)
    return Grants(bench.database, bench.clock, bench.rules, choose=choose).take(bench.slot)


def granted(bench: Workbench, *names: str) -> Query:
    query = take(bench, *names)
    assert query is not None
    return query


def test_named_orders_are_polled_whether_they_are_due_or_not(bench: Workbench) -> None:
    bench.add("due", "named")
    later = bench.now() + timedelta(hours=1)
    bench.run("UPDATE recharge_orders SET due_at = :later WHERE request_id = 'named'", later=later)
    query = granted(bench, "named")
    assert (query.ids, query.work.value, bench.order("named").lease_token) == (("named",), "single", query.token)
    (act,) = bench.rows(ACTS)
    assert (act["actor"], act["act"], act["reason"], act["detail"]) == (
        "ann",
        "poll",
        "first contact",
        "1 order: named",
    )
    bench.write_back.answered(query, answer_to(query, [item("named")]))
    assert bench.order("named").state is OrderState.SUCCEEDED
    assert bench.order("due").query_count == 0


def test_the_slot_is_closed_by_it_and_for_it_as_for_every_query(bench: Workbench) -> None:
    bench.add("a", "b")
    query = granted(bench, "a", "b")
    assert query.work.value == "batch"
    assert take(bench, "a") is None
    bench.write_back.answered(query, answer_to(query, [item("a", "0", None)]))
    bench.clock.advance(bench.rules.spacing_seconds - 0.001)
    assert take(bench, "a") is None
    assert bench.grants.take(bench.slot) is None
    bench.clock.advance(0.002)
    assert granted(bench, "a").ids == ("a",)


def test_a_query_whose_process_ends_is_lost_and_its_lease_runs_out(bench: Workbench) -> None:
    bench.add("a")
    granted(bench, "a")
    assert bench.grants.take(bench.slot) is None
    bench.clock.advance(bench.rules.reservation_seconds)
    assert take(bench, "a") is None, "the lease holds until the database's clock says otherwise"
    bench.run("UPDATE recharge_orders SET due_at = submitted_at")
    assert bench.take().ids == ("a",)
    assert [row["outcome"] for row in bench.rows(QUERIES)] == ["lost", "in_flight"]


def test_of_final_and_cancelled_orders_only_the_history_grows(bench: Workbench) -> None:
    bench.add("open", "final", "cancelled", "other")
    bench.reconcile([item("final"), item("other")])
    bench.run("UPDATE recharge_orders SET state = 'cancelled' WHERE request_id = 'cancelled'")
    before = {name: bench.order(name) for name in ("final", "cancelled", "other")}
    query = granted(bench, "open", "final", "cancelled", "other")
    assert [name for name in before if bench.order(name).lease_token] == []
    bench.write_back.answered(
        query, answer_to(query, [item("open"), item("final"), item("other", "-1", "0", mobile="188****0804")])
    )
    assert bench.order("open").state is OrderState.SUCCEEDED
    assert bench.order("final") == replace(before["final"], version=bench.order("final").version)
    assert bench.order("cancelled") == before["cancelled"]
    assert (bench.order("other").state, bench.order("other").attention) == (
        *(OrderState.SUCCEEDED, Attention.LATE_CONFLICT),
    )
    assert [event["query_id"] for event in bench.events_of("final")][-1] == query.id


def test_after_a_failure_final_orders_stay_as_they_are(bench: Workbench) -> None:
    bench.add("open", "final")
    bench.reconcile([item("final"), item("open", "0", None)])
    before = bench.order("final")
    query = granted(bench, "open", "final")
    bench.write_back.failed(query, Refused("-1", "no"))
    assert bench.order("final") == before
    assert bench.order("open").lane.is_suspect


@pytest.mark.parametrize(
    "hindrance",
    ["held", "gone", "paused", "backs off", "refused", "one item", "alone", "suspect", "too many", "another kind"],
)
def test_all_of_them_are_polled_or_none_and_the_slot_stays_unspent(bench: Workbench, hindrance: str) -> None:
    bench.add("a", "b")
    choose = partial(choose_named, ids=[order.id for order in bench.orders()], by=ANN)
    state, rules = bench.state(), bench.rules
    match hindrance:
        case "held":
            later = bench.now() + timedelta(hours=1)
            bench.run("UPDATE recharge_orders SET lease_token = 't', due_at = :at WHERE request_id = 'a'", at=later)
        case "gone":
            bench.run("DELETE FROM recharge_orders WHERE request_id = 'a'")
        case "paused":
            state = replace(state, pauses=(Pause(paused_at=bench.now()),))
        case "backs off":
            state = replace(state, backoff_until=bench.now() + timedelta(minutes=1), backoff_seconds=60.0)
        case "refused":
            state = replace(state, configuration_refused=True)
        case "one item":
            state = replace(state, one_item_mode=True)
        case "alone" | "suspect":
            bench.run("UPDATE recharge_orders SET lane = :lane WHERE request_id = 'a'", lane=LANES[hindrance])
        case "too many":
            rules = replace(rules, batch_size=1)
        case "another kind":
            named = "UPDATE recharge_orders SET request_id = NULL, custom_parm = 'c', id_kind = 'customParm'"
            bench.run(f"{named} WHERE request_id = 'a'")
    bench.put_state(state)
    grants = Grants(bench.database, bench.clock, rules, choose=choose)
    assert grants.take(bench.slot) is None
    assert (bench.rows(QUERIES), bench.rows(ACTS)) == ([], [])
    assert bench.open_slots() == [bench.slot]


def test_an_order_that_is_polled_apart_may_be_named_alone(bench: Workbench) -> None:
    bench.add("a")
    bench.run("UPDATE recharge_orders SET lane = :lane", lane=LANES["alone"])
    query = granted(bench, "a")
    bench.write_back.answered(query, answer_to(query, []))
    assert (query.work.value, bench.order("a").absences) == ("single", 1)
