"""Notifications are written in the transaction that changes their order: one for each change, on every database."""

import json
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import inspect

from tests.support.notifying import put_endpoint, told_of
from tests.support.racing import at_once
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import MOBILE, callback
from tests.support.sql import insert_rows, session, statements_of
from worker.database.migrations import upgrade
from worker.database.tables import ORDERS, REJECTED
from worker.domain.orders import operator_acts as acts
from worker.domain.records.accounts import Rules
from worker.domain.records.notifications import EventType, NotificationState, Rank
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import OrderState, version_at
from worker.operations.act_by_hand import Decide, Operator, act_on_orders
from worker.operations.upkeep import OverdueOrders

ANN = Operator(name="ann", reason="by hand")


def act(bench: Workbench, kind: ActKind, decide: Decide, *names: str) -> None:
    ids = [bench.order(name).id for name in names]
    (done,) = act_on_orders(bench.database, ANN, kind, ids, decide)
    assert not done.refusals


def test_results_of_a_query_are_told_of_as_they_stand_in_the_table(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1", "r2", "r3", "r4", expected_amount="2.94", mobile=MOBILE)
    bench.reconcile(
        [
            item("r1", amount="2.94", remark="成功 😀"),
            item("r2", amount="30"),
            item("r3", status="-1", amount=None, remark="号码错误", mobile="188****0804"),
            item("r4", status="0", amount=None),
        ]
    )
    told = {one.data["request_id"]: one for one in told_of(bench)}
    assert {name: one.type for name, one in told.items()} == {
        "r1": "order.succeeded",
        "r2": "order.succeeded",
        "r3": "order.failed",
    }
    assert told["r2"].data["attention"] == "amount_mismatch"
    assert (told["r1"].data["ori_amount"], told["r2"].data["ori_amount"]) == ("2.94", "30.00")
    for row in bench.rows(ORDERS)[:3]:
        one = told[row["request_id"]]
        assert one.row.order_id == row["id"]
        assert one.row.version == one.data["version"] == row["version"]
        assert one.data["settled_at"] == row["settled_at"].isoformat()
        assert (one.data["source"], one.data["settled_by"], one.data["remark"]) == ("query", "query", row["remark"])
        assert Decimal(one.data["expected_amount"]) == row["expected_amount"]
        assert (one.row.rank, one.row.state, one.row.tries) == (Rank.RESULT, NotificationState.PENDING, 0)
        assert one.row.due_at == one.row.changed_at == row["updated_at"]
    ids = {one.row.event_id for one in told.values()}
    assert len(ids) == 3
    assert all(name.startswith("msg_") and len(name) == 36 for name in ids)


def test_the_story_of_an_order_is_told_of_step_by_step(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1")
    bench.intake.record_callbacks([callback("r1")])
    bench.intake.record_callbacks([callback("r1"), callback("r1", status="-1")])
    act(bench, ActKind.DISMISS, acts.dismiss, "r1")
    act(bench, ActKind.REOPEN, partial(acts.reopen, force=True), "r1")
    bench.intake.check_orders([{"request_id": "r1"}])
    act(bench, ActKind.CANCEL, acts.cancel, "r1")
    told = told_of(bench, "r1")
    assert [(one.type, one.data["state"], one.data["attention"], one.data["source"]) for one in told] == [
        ("order.succeeded", "succeeded", None, "callback"),
        ("order.attention", "succeeded", "late_conflict", "callback"),
        ("order.attention", "succeeded", None, "operator"),
        ("order.reopened", "pending", None, "operator"),
        ("order.cancelled", "cancelled", None, "operator"),
    ]
    versions = [one.row.version for one in told]
    assert versions == sorted(set(versions))
    assert versions[-1] == bench.order("r1").version
    assert {one.row.rank for one in told} == {Rank.RESULT}


def test_without_an_endpoint_there_is_no_row(bench: Workbench) -> None:
    put_endpoint(bench, "somebody else")
    bench.add("r1", "r2")
    bench.intake.record_callbacks([callback("r1")])
    bench.intake.cancel_orders([{"request_id": "r2"}])
    assert told_of(bench) == []
    assert bench.order("r1").version > 0


def test_only_the_types_that_an_endpoint_takes_have_rows(bench: Workbench) -> None:
    put_endpoint(bench, events=f"{EventType.FAILED},{EventType.CANCELLED}")
    bench.add("r1", "r2", "r3")
    bench.intake.record_callbacks([callback("r1"), callback("r2", status="-1")])
    bench.intake.cancel_orders([{"request_id": "r3"}])
    assert [one.type for one in told_of(bench)] == ["order.failed", "order.cancelled"]


def test_what_changes_nothing_that_can_be_seen_reads_no_endpoint(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1", "r2")
    with statements_of(bench.database.engine) as executed:
        bench.reconcile([item("r1", status="0", amount=None), item("r2", status="0", amount=None)])
        assert not [said for said, _ in executed if "notif" in said]
        bench.intake.record_callbacks([callback("r1"), callback("r2")])
    assert len([said for said, _ in executed if "notify_endpoints" in said]) == 1


def test_acts_on_many_orders_and_flags_do_not_go_before_results(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1", "r2", "r3", "r4", "r5", age_seconds=3600.0)
    act(bench, ActKind.CANCEL, acts.cancel, "r1", "r2")
    bench.intake.cancel_orders([{"request_id": "r3"}, {"request_id": "r4"}])
    rules = Rules(unresolved_after_seconds=60.0, window_seconds=1.0)
    assert len(OverdueOrders(bench.database, rules).flag()) == 1
    told = told_of(bench)
    assert [one.type for one in told] == ["order.cancelled"] * 4 + ["order.attention"]
    assert {one.row.rank for one in told} == {Rank.BULK}


def test_a_retry_of_refused_input_does_not_go_before_results(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1")
    kept = {"source": "reconciler.record_callbacks", "payload": json.dumps(callback("r1")), "errors": "once"}
    bench.run(REJECTED.insert(), {**kept, "received_at": bench.now()})
    (row,) = bench.rows(REJECTED)
    assert bench.intake.retry_rejected(row["id"], actor="ann")["errors"] == []
    assert [(one.type, one.row.rank) for one in told_of(bench)] == [("order.succeeded", Rank.BULK)]


def test_what_is_rolled_back_is_not_told_of(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1")
    dry = Operator(name="ann", reason="by hand", dry_run=True)
    list(act_on_orders(bench.database, dry, ActKind.CANCEL, [bench.order("r1").id], acts.cancel))
    assert told_of(bench) == []
    assert bench.order("r1").state is OrderState.PENDING


def test_an_order_that_was_deleted_and_comes_again_has_a_newer_version(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1")
    bench.intake.record_callbacks([callback("r1")])
    last = bench.order("r1").version
    bench.run("DELETE FROM recharge_orders")
    bench.add("r1")
    assert bench.order("r1").version >= last
    bench.intake.cancel_orders([{"request_id": "r1"}])
    first, again = told_of(bench, "r1")
    assert again.row.version > first.row.version


def test_many_callbacks_about_one_order_at_once_give_one_notification(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1")
    at_once(bench.url, lambda other: other.intake.record_callbacks([callback("r1")]))
    (told,) = told_of(bench)
    assert told.row.version == told.data["version"]


def test_an_order_that_revision_0004_archived_has_version_0_and_is_told_of(database_url: str) -> None:
    upgrade(database_url, "0004")
    with session(database_url) as connection:
        columns = inspect(connection).get_columns("recharge_orders")
    plain: dict[str, Any] = dict.fromkeys(column["name"] for column in columns)
    at = "2026-01-31T12:00:00+00:00"
    times = dict.fromkeys(("submitted_at", "due_at", "settled_at", "created_at", "updated_at"), at)
    names = {"id": 7, "account": "default", "request_id": "r1", "state": "succeeded", "id_kind": "requestId"}
    counts = dict.fromkeys((n for n in plain if n.endswith(("_count", "ences", "_mark", "_ends", "_group"))), 0)
    order = {**plain, **counts, **times, **names, "lane": "batch", "failures_alone": 0, "settled_by": "query"}
    held = {"id": 7, "account": "default", "request_id": "r1", "state": "succeeded"}
    held |= dict.fromkeys(("settled_at", "archived_at"), "2026-01-31 12:00:00")
    record = json.dumps({"order": order, "events": []}, separators=(",", ":"))
    insert_rows(database_url, "archived_orders", {**held, "record": record})
    upgrade(database_url)
    bench = Workbench(database_url)
    put_endpoint(bench)

    assert bench.order("r1").version == 0
    bench.intake.record_callbacks([callback("r1", status="-1")])
    (told,) = told_of(bench)
    assert (told.type, told.data["version"]) == ("order.attention", bench.order("r1").version)
    assert told.row.version > version_at(bench.order("r1").created_at or told.row.changed_at - timedelta(days=1))
    bench.close()
