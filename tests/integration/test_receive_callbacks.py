"""Callbacks over HTTP in the database: shared transactions, repeats that are counted, hints that settle nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.reconciling import Workbench, answer_to, item
from worker.database.tables import ORDERS, REJECTED, UNMATCHED
from worker.domain.callbacks.bodies import Callback, receive
from worker.domain.orders.operator_acts import reopen
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Refused, Rejection, Trust
from worker.domain.records.operators import Act
from worker.domain.records.orders import Attention, OrderState
from worker.operations.reserve_slot import read_resting
from worker.operations.save_orders import save_orders

Make = Callable[[int], Callback | Rejection]
APP_IDS = {"default": "app-1", "north": "app-2"}

pytestmark = pytest.mark.workbench(app_ids=APP_IDS)


def callback(
    request_id: str = "r1", *, account: str = "default", trust: Trust = Trust.SETTLE, **fields: object
) -> Callback | Rejection:
    """A callback that came by the address of an account."""
    said = {"requestId": request_id, "appid": APP_IDS[account], "trafficSts": "1", "oriAmount": "2.94", **fields}
    body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
    return receive(account, APP_IDS[account], body, "application/json", trust)


def junk(number: int = 0) -> Callback | Rejection:
    return receive("default", "app-1", b"junk %d" % number, None, Trust.SETTLE)


def unknown(number: int) -> Callback | Rejection:
    return callback(f"r{number}")


def take_in(bench: Workbench, *callbacks: Callback | Rejection) -> None:
    bench.intake.match_callbacks(bench.intake.receive_callbacks(callbacks))


def states(bench: Workbench) -> dict[str | None, str]:
    return {order.request_id: order.state.value for order in bench.orders()}


def ignored(bench: Workbench, name: str) -> list[Any]:
    return [row["repeats"] for row in bench.events_of(name) if row["kind"] == "ignored"]


def test_callbacks_that_came_together_settle_their_orders_in_one_transaction(bench: Workbench) -> None:
    bench.add("r1", "r2")
    take_in(bench, callback("r1"), callback("r2", trafficSts="-1", mobile="188****0804"), callback("r3"))
    assert states(bench) == {"r1": "succeeded", "r2": "failed"}
    assert [row["request_id"] for row in bench.rows(UNMATCHED)] == ["r3"]


def test_the_same_callback_again_is_recorded_once_and_counted(bench: Workbench) -> None:
    bench.add("r1")
    take_in(bench, callback())
    assert ignored(bench, "r1") == []
    take_in(bench, callback())
    assert ignored(bench, "r1") == [None]
    before = bench.rows(ORDERS)
    take_in(bench, callback(), callback())
    take_in(bench, callback())
    assert ignored(bench, "r1") == [3]
    assert bench.rows(ORDERS) == before
    take_in(bench, callback(oriAmount="9.80"), callback(oriAmount="9.80"))
    contradicted = [row for row in bench.events_of("r1") if row["kind"] == "contradicted"]
    assert [row["repeats"] for row in contradicted] == [1]


def test_refused_callbacks_are_kept_once_and_counted(bench: Workbench) -> None:
    take_in(bench, junk(), junk())
    take_in(bench, junk(), receive("north", "app-2", b"junk 0", None, Trust.SETTLE))
    rows = bench.rows(REJECTED)
    assert [(row["source"], row["payload"], row["repeats"]) for row in rows] == [
        ("reconciler serve", '"junk 0"', 2),
        ("reconciler serve", '"junk 0"', None),
    ]
    assert [row["errors"].splitlines()[-1] for row in rows] == [
        "address: that of account default",
        "address: that of account north",
    ]


def test_the_same_callback_of_an_unknown_order_is_kept_once_and_counted(bench: Workbench) -> None:
    for _ in range(3):
        take_in(bench, callback(), callback(), callback(trust=Trust.CHECK), callback(oriAmount="9.80"))
    bench.intake.record_callbacks([{"requestId": "r1", "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"}] * 2)
    rows = {(row["trust"], json.loads(row["payload"])["oriAmount"]): row["repeats"] for row in bench.rows(UNMATCHED)}
    assert rows == {(Trust.SETTLE, "2.94"): 7, (Trust.CHECK, "2.94"): 2, (Trust.SETTLE, "9.80"): 2}
    assert len(bench.rows(UNMATCHED)) == 3
    bench.add("r1")
    assert bench.rows(UNMATCHED) == []
    events = {row["kind"]: row["repeats"] for row in bench.events_of("r1")}
    assert events == {"settled": 7, "ignored": 2, "contradicted": 2}


KEPT = pytest.mark.parametrize(("make", "table"), [(junk, REJECTED), (unknown, UNMATCHED)])


@KEPT
def test_what_comes_to_several_processes_is_kept_once(bench: Workbench, make: Make, table: Any) -> None:
    listed = [make(number) for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(take_in, bench, *listed[::step]) for step in (1, -1, 1, -1)]:
            done.result()
    assert [row["repeats"] for row in bench.rows(table)] == [3, 3, 3]


@KEPT
def test_several_processes_keep_rows_in_the_same_order(bench: Workbench, make: Make, table: Any) -> None:
    """Otherwise they wait for each other's rows in a circle: a deadlock."""
    listed = [make(number) for number in range(9)]
    orders = []
    for step in (1, -1):
        take_in(bench, *listed[::step])
        orders.append([row["payload"] for row in bench.rows(table)])
        bench.run(f"DELETE FROM {table.name}")
    assert orders[0] == orders[1]


def test_of_two_kept_callbacks_that_came_together_the_first_settles_their_order(bench: Workbench) -> None:
    for number, results in enumerate((("1", "-1"), ("-1", "1"))):
        said = [callback(f"r{number}", trafficSts=result, mobile="188****0804") for result in results]
        take_in(bench, *said)
    bench.add("r0", "r1")
    assert states(bench) == {"r0": "succeeded", "r1": "failed"}


def test_rows_of_an_older_release_that_hold_the_same_callback_make_one_event(bench: Workbench) -> None:
    take_in(bench, callback())
    columns = "account, request_id, received_at, payload, trust"
    for _ in range(4):
        bench.run(f"INSERT INTO unmatched_callbacks ({columns}) SELECT {columns} FROM unmatched_callbacks")
    bench.add("r1")
    assert bench.rows(UNMATCHED) == []
    assert [(row["kind"], row["repeats"]) for row in bench.events_of("r1")] == [("settled", None), ("ignored", 14)]


@pytest.mark.parametrize("trust", list(Trust))
def test_a_dismissed_late_conflict_does_not_come_back_by_the_same_body(bench: Workbench, trust: Trust) -> None:
    bench.add("r1")
    take_in(bench, callback())
    conflict = callback(oriAmount="9.80", trust=trust)
    take_in(bench, conflict)
    # More than are read of an order's events at first.
    take_in(bench, *(callback(oriAmount=f"5.{number}", trust=trust) for number in range(1000, 1250)))
    assert bench.order("r1").attention == "late_conflict"
    bench.run("UPDATE recharge_orders SET attention = NULL")
    take_in(bench, conflict, conflict)
    assert bench.order("r1").attention is None
    assert [row["repeats"] for row in bench.events_of("r1") if "9.80" in (row["detail"] or "")] == [2]
    take_in(bench, callback(oriAmount="7.00", trust=trust))
    assert bench.order("r1").attention == "late_conflict"


def test_what_contradicts_an_order_again_after_it_was_reopened_is_shown(bench: Workbench) -> None:
    bench.add("r1")
    take_in(bench, callback())
    take_in(bench, callback(oriAmount="9.80"))
    order = bench.order("r1")
    act = Act(actor="ann", now=order.submitted_at, reason="wrong")
    reopened = reopen(order, act, force=True)
    assert not isinstance(reopened, str)
    with bench.database.write() as connection:
        save_orders(connection, [reopened], bench.database.now(connection))
    take_in(bench, callback())
    take_in(bench, callback(oriAmount="9.80"))
    assert bench.order("r1").attention == "late_conflict"


def test_a_callback_by_one_accounts_address_touches_no_order_of_another(bench: Workbench) -> None:
    bench.add("r1")
    bench.intake.enqueue_orders([{"account": "north", "request_id": "r9", "mobile": "18812340804"}])
    before = bench.rows(ORDERS)
    take_in(
        bench,
        callback("r9", account="default", appid="app-2"),
        callback("r9", account="default", appid=None),
        callback("r1", account="north", appid=None),
    )
    assert bench.rows(ORDERS) == before
    assert len(bench.rows(REJECTED)) == 1
    assert [(row["account"], row["request_id"]) for row in bench.rows(UNMATCHED)] == [
        ("default", "r9"),
        ("north", "r1"),
    ]


def test_a_hint_makes_its_order_due_once_and_settles_nothing(bench: Workbench) -> None:
    bench.add("r1")
    hint = callback(trust=Trust.CHECK)
    take_in(bench, hint, hint)
    take_in(bench, hint)
    order = bench.order("r1")
    assert (order.state, order.check_requested_at is not None) == ("pending", True)
    assert order.callback_check_after is not None
    assert [row["kind"] for row in bench.events_of("r1")].count("check_requested") == 1


def given_up(bench: Workbench, *names: str, **fields: object) -> None:
    """Orders that were given up: the platform denied them, say."""
    bench.add(*names)
    columns = {"state": OrderState.UNRESOLVED, "attention": Attention.TOO_OLD, **fields}
    bench.run(update(ORDERS).where(ORDERS.c.request_id.in_(names)).values(columns))


def test_a_hint_has_an_unresolved_order_polled_once_more(bench: Workbench) -> None:
    bench.open()
    given_up(bench, "r1", "r2", "r3")
    assert read_resting(bench.database, ["default"]) == {"default"}
    assert bench.grants.take(bench.slot) is None
    take_in(bench, callback("r1", trust=Trust.CHECK), callback("r2", trust=Trust.CHECK, trafficSts="-1"))
    assert states(bench) == dict.fromkeys(("r1", "r2", "r3"), "unresolved")
    assert read_resting(bench.database, ["default"]) == set()
    assert bench.reconcile([item("r1")]).ids == ("r1", "r2")
    assert states(bench) == {"r1": "succeeded", "r2": "unresolved", "r3": "unresolved"}
    # Within its re-query interval no other one has it polled again.
    take_in(bench, callback("r2", trust=Trust.CHECK))
    assert read_resting(bench.database, ["default"]) == {"default"}
    assert bench.grants.take(bench.slot) is None


@pytest.mark.workbench(rules=Rules(grace_seconds=1.0, batch_size=10), app_ids=APP_IDS)
def test_hints_about_unresolved_orders_take_at_most_half_a_batch(bench: Workbench) -> None:
    names = [f"old{number}" for number in range(30)]
    given_up(bench, *names)
    bench.add(*(f"new{number}" for number in range(10)))
    take_in(bench, *(callback(name, trust=Trust.CHECK) for name in names))
    polled = bench.reconcile([]).ids
    assert [name[:3] for name in polled].count("old") == 5
    assert len(polled) == 10


def wait(bench: Workbench, **duration: float) -> None:
    bench.database.step += timedelta(**duration)


def checks(bench: Workbench, name: str) -> int:
    return [row["kind"] for row in bench.events_of(name)].count("check_requested")


def test_every_hint_about_an_unresolved_order_has_it_polled_ten_windows_apart(bench: Workbench) -> None:
    bench.open()
    # Its last poll was that of an old order: by its schedule the next one would be hours away.
    given_up(bench, "r1", due_at=bench.now() + timedelta(hours=5))
    take_in(bench, callback(trust=Trust.CHECK))
    assert bench.reconcile([item("r1", "0")]).ids == ("r1",)
    wait(bench, minutes=4)
    take_in(bench, callback(trust=Trust.CHECK, trafficSts="-1"))
    take_in(bench, callback(trust=Trust.CHECK))
    assert (checks(bench, "r1"), bench.grants.take(bench.slot)) == (2, None)
    wait(bench, minutes=6)
    assert bench.reconcile([item("r1", "0")]).ids == ("r1",)
    wait(bench, hours=2)
    take_in(bench, callback(trust=Trust.CHECK))
    assert (checks(bench, "r1"), bench.reconcile([item("r1")]).ids) == (3, ("r1",))
    assert states(bench) == {"r1": "succeeded"}


def test_a_hint_that_comes_too_early_has_its_order_polled_when_the_interval_ends(bench: Workbench) -> None:
    bench.open()
    # By its schedule an order of this age is polled once an hour.
    bench.add("r1", age_seconds=250_000.0)
    bench.run(update(ORDERS).values(due_at=bench.now() + timedelta(minutes=10)))
    take_in(bench, callback(trust=Trust.CHECK))
    bench.reconcile([item("r1", "0")])
    take_in(bench, callback(trust=Trust.CHECK))
    assert (checks(bench, "r1"), bench.grants.take(bench.slot)) == (2, None)
    wait(bench, minutes=10)
    bench.reconcile([item("r1")])
    assert states(bench) == {"r1": "succeeded"}


@pytest.mark.parametrize("end", ["answered", "failed"])
def test_a_hint_that_comes_while_a_query_gives_its_order_up_is_kept(bench: Workbench, end: str) -> None:
    bench.open()
    bench.add("r1", "r2", age_seconds=300_000.0)
    bench.run(update(ORDERS).where(ORDERS.c.request_id == "r1").values(lane="alone", failures_alone=2))
    query = bench.take()
    while query.ids != ("r1",):
        bench.write_back.answered(query, answer_to(query, [item("r2")]))
        bench.clock.advance(bench.rules.spacing_seconds)
        query = bench.take()
    take_in(bench, callback(trust=Trust.CHECK))
    if end == "answered":
        bench.write_back.answered(query, answer_to(query, [item("r1", "0")]))
    else:
        bench.write_back.failed(query, Refused("-2", "bad id"))
    assert states(bench) == {"r1": "unresolved", "r2": "succeeded"}
    bench.clock.advance(bench.rules.reservation_seconds)
    assert bench.reconcile([item("r1")]).ids == ("r1",)
    assert states(bench) == {"r1": "succeeded", "r2": "succeeded"}


def test_a_hint_about_an_order_that_queries_failed_by_spoils_no_batch(bench: Workbench) -> None:
    bench.open()
    given_up(bench, "bad", failures_alone=3)
    bench.add("r1", "r2")
    take_in(bench, callback("bad", trust=Trust.CHECK))
    asked = []
    for _ in range(10):
        bench.make_due()
        query = bench.take()
        asked.append(query.ids)
        if "bad" in query.ids:
            bench.write_back.failed(query, Refused("-2", "bad id"))
        else:
            bench.write_back.answered(query, answer_to(query, [item(name, "0") for name in query.ids]))
        bench.clock.advance(bench.rules.reservation_seconds)
    assert asked.count(("bad",)) == 1
    assert {ids for ids in asked if ids != ("bad",)} == {("r1", "r2")}
    assert (bench.order("bad").state, bench.order("bad").check_requested_at) == ("unresolved", None)


def test_hints_about_an_order_whose_queries_are_refused_have_it_polled_ten_windows_apart(bench: Workbench) -> None:
    bench.open()
    given_up(bench, "r1", failures_alone=3, queried_at=bench.now() - timedelta(hours=5))
    queries = 0
    # The platform repeats its callback each minute, which is each window.
    for _ in range(20):
        take_in(bench, callback(trust=Trust.CHECK))
        query = bench.grants.take(bench.slot)
        if query is not None:
            bench.write_back.failed(query, Refused("-2", "bad id"))
            queries += 1
        bench.clock.advance(bench.rules.spacing_seconds)
        bench.database.step += timedelta(seconds=bench.rules.spacing_seconds)
    assert queries <= 3


def test_a_hint_about_an_order_that_is_given_up_has_it_polled_within_ten_windows(bench: Workbench) -> None:
    bench.open()
    # Older than the age limit. By its schedule it is polled in four hours; the first hint has it polled now.
    bench.add("r1", age_seconds=300_000.0)
    bench.run(update(ORDERS).values(due_at=bench.now() + timedelta(hours=4)))
    take_in(bench, callback(trust=Trust.CHECK))
    query = bench.take()
    take_in(bench, callback(trust=Trust.CHECK))
    bench.write_back.answered(query, answer_to(query, [item("r1", "0")]))
    order = bench.order("r1")
    assert order.state is OrderState.UNRESOLVED
    assert order.check_requested_at is not None
    assert order.check_requested_at <= query.sent_at + bench.rules.windows(10)
