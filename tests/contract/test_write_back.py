"""The write-back, on every database: what the effects of queries change, and what they must not change."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.exc import OperationalError

from tests.support.reconciling import Workbench, answer_to, item
from tests.support.settled_orders import callback
from worker.database.tables import BUDGETS, QUERIES
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import (
    DeadlineExceeded,
    HttpError,
    NotSent,
    QueryError,
    Refused,
    Unreachable,
)
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, OrderState, Source

BLIND = [{"custom_parm": "c1", "mobile": "18812340804"}, {"custom_parm": "c2", "mobile": "18812340805"}]


def test_an_answer_settles_what_it_proves_and_records_its_source(bench: Workbench) -> None:
    bench.add("won", "lost", "open", expected_amount="2.94")
    query = bench.reconcile(
        [item("won", remark="成功 🎉"), item("lost", "-1", "0.00", mobile="188****0804"), item("open", "0", None)]
    )

    won, lost, still = bench.order("won"), bench.order("lost"), bench.order("open")
    assert (won.state, won.traffic_sts, won.remark) == (OrderState.SUCCEEDED, 1, "成功 🎉")
    assert (won.ori_amount, won.settled_by, won.lease_token) == (Decimal("2.94"), Source.QUERY, None)
    assert (lost.state, lost.traffic_sts, lost.ori_amount) == (OrderState.FAILED, -1, Decimal(0))
    assert (still.state, still.traffic_sts) == (OrderState.PENDING, 0)
    event = bench.events_of("won")[-1]
    assert (event["kind"], event["query_id"], event["to_state"]) == ("settled", query.id, "succeeded")
    row = bench.rows(QUERIES)[0]
    assert (row["outcome"], row["settled_count"], row["pending_count"], row["absent_count"]) == ("answered", 2, 1, 0)
    assert (row["order_count"], row["polled_ids"], row["http_status"]) == (3, "lost,open,won", 200)


def test_a_callback_and_an_answer_that_contradict_each_other_flag_the_order(bench: Workbench) -> None:
    bench.add("a")
    query = bench.take()
    bench.intake.record_callbacks([callback("a")])

    bench.write_back.answered(query, answer_to(query, [item("a", "-1", "0.00", mobile="188****0804")]))
    order = bench.order("a")
    assert (order.state, order.ori_amount, order.settled_by) == (OrderState.SUCCEEDED, Decimal("2.94"), Source.CALLBACK)
    assert order.attention is Attention.LATE_CONFLICT
    assert [event["kind"] for event in bench.events_of("a")] == ["settled", "contradicted"]


def test_a_stale_token_settles_nothing_and_moves_no_slot(bench: Workbench) -> None:
    bench.add("a")
    stale, _ = bench.take_twice()
    before = bench.rows(BUDGETS), bench.order("a")

    bench.write_back.answered(stale, answer_to(stale, [item("a")]))
    assert (bench.rows(BUDGETS), bench.order("a")) == before
    assert [row["outcome"] for row in bench.rows(QUERIES)] == ["lost", "in_flight"]
    assert bench.events_of("a")[-1]["kind"] == "ignored"


def test_the_same_answer_written_twice_has_one_effect(bench: Workbench) -> None:
    bench.add("a")
    query = bench.take()
    for _ in range(2):
        bench.write_back.answered(query, answer_to(query, [item("a")]))
    assert [event["kind"] for event in bench.events_of("a")] == ["settled"]
    assert bench.order("a").query_count == 1
    assert bench.state().answered_with_items == 1


def test_an_answer_is_written_where_the_accounts_row_was_lost_meanwhile(bench: Workbench) -> None:
    bench.add("a")
    query = bench.take()
    bench.run("DELETE FROM account_states")
    bench.write_back.answered(query, answer_to(query, [item("a")]))
    assert bench.order("a").state is OrderState.SUCCEEDED
    assert bench.state().answered_with_items == 1


def test_the_same_refusal_written_twice_counts_once(bench: Workbench) -> None:
    bench.add("a")
    query = bench.take()
    for _ in range(2):
        bench.write_back.failed(query, Refused("-7", "系统错误"))
    assert bench.state().refusals_in_row == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Refused("-7", "系统错误"), "refused"),
        (DeadlineExceeded("no answer"), "timeout"),
        (HttpError(500), "http_error"),
        (HttpError(503), "http_error"),
        (Unreachable("no connection"), "unreachable"),
        (NotSent("too late"), "unsent"),
    ],
)
def test_a_query_that_failed_leaves_its_orders_due_as_before(bench: Workbench, error: QueryError, outcome: str) -> None:
    bench.add("a", "b")
    before = {order.request_id: order.due_at for order in bench.orders()}
    bench.write_back.failed(bench.take(), error)
    after = bench.orders()
    assert {order.request_id: order.due_at for order in after} == before
    assert {(order.queried_at, order.query_count, order.lease_token) for order in after} == {(None, 0, None)}
    assert bench.rows(QUERIES)[0]["outcome"] == outcome


def test_a_request_id_that_another_order_holds_settles_neither_and_the_others_settle(bench: Workbench) -> None:
    bench.put_state(replace(bench.state(), echoes_custom_parm=True))
    bench.enqueue(*BLIND, {"request_id": "taken"})
    bench.run("UPDATE recharge_orders SET due_at = updated_at WHERE request_id = 'taken'")
    query = bench.take()
    assert set(query.ids) == {"c1", "c2"}
    bench.write_back.answered(query, answer_to(query, [item("taken", custom_parm="c1"), item("p2", custom_parm="c2")]))
    flagged, holder, fine = bench.order("c1"), bench.order("taken"), bench.order("c2")
    assert (flagged.state, flagged.attention) == (OrderState.PENDING, Attention.CONFLICTING_ANSWER)
    assert (holder.state, holder.attention) == (OrderState.PENDING, Attention.CONFLICTING_ANSWER)
    assert (fine.state, fine.request_id) == (OrderState.SUCCEEDED, "p2")


def test_a_request_id_that_reads_as_a_row_is_not_learned_and_the_result_counts_all_the_same(bench: Workbench) -> None:
    bench.enqueue(*BLIND)
    bench.intake.record_callbacks([{**callback("id:2"), "mobile": "188****0805", "customParm": "c2"}])
    query = bench.take()
    assert query.ids == ("c1",)
    bench.write_back.answered(query, answer_to(query, [item("id:1", custom_parm="c1")]))
    for order in bench.orders():
        assert (order.state, order.request_id) == (OrderState.SUCCEEDED, None)
    # What was said is in the history.
    assert '"requestId":"id:2"' in bench.events_of("c2")[-1]["detail"]


def test_items_of_orders_that_were_not_polled_are_kept_with_the_query_and_touch_no_order(bench: Workbench) -> None:
    bench.add("a", "bystander")
    bench.run("UPDATE recharge_orders SET due_at = '2100-01-01 00:00:00' WHERE request_id = 'bystander'")
    bench.reconcile([item("a"), item("bystander"), item("stranger")])
    assert bench.order("bystander").state is OrderState.PENDING
    assert bench.rows(QUERIES)[0]["added_items"] is not None


@pytest.mark.databases("postgresql")
def test_a_write_back_to_a_database_that_is_away_is_retried_and_then_given_up(
    migrated_database_url: str,
) -> None:
    rules = Rules(grace_seconds=1.0, deadline_seconds=0.2, window_seconds=0.2, margin_seconds=0.1)
    bench = Workbench(migrated_database_url).open()
    bench.add("a")
    query = bench.take()
    gone = Workbench(migrated_database_url.rsplit("/", 1)[0] + "/no_such_database", rules, clock=bench.clock)
    with pytest.raises(OperationalError):
        gone.write_back.answered(query, answer_to(query, [item("a")]))
    assert bench.order("a").state is OrderState.PENDING
    gone.close()
    bench.close()


def test_a_doubt_that_each_poll_repeats_is_counted_and_not_written_again(bench: Workbench) -> None:
    bench.add("1", "2")

    def poll(amount: str) -> None:
        bench.make_due()
        bench.reconcile([item("1", amount=amount), item("2", "0", None)])

    def doubts() -> list[tuple[str, int | None]]:
        return [(row["ori_amount"], row["repeats"]) for row in bench.events_of("1")]

    for _ in range(3):
        poll("2.94元")
    assert doubts() == [("2.94元", 2)]
    assert bench.order("1").query_count == 3
    poll("2,94")
    poll("2,94")
    assert doubts() == [("2.94元", 2), ("2,94", 1)]
    # Once a person has dismissed it, it comes back with an event of its own.
    bench.run("UPDATE recharge_orders SET attention = NULL")
    poll("2,94")
    assert doubts() == [("2.94元", 2), ("2,94", 1), ("2,94", None)]
    assert bench.order("1").attention is Attention.CONFLICTING_ANSWER


def test_a_doubt_that_callbacks_repeat_is_counted_and_the_order_is_due_each_time(bench: Workbench) -> None:
    bench.add("1", age_seconds=0)
    denial = {"requestId": "1", "appid": "app-1", "trafficSts": "-1", "remark": "订单不存在"}
    for _ in range(3):
        bench.run("UPDATE recharge_orders SET due_at = '2035-01-31 00:00:00'")
        bench.intake.record_callbacks([denial])
        assert bench.order("1").due_at <= bench.now()
    assert [(row["kind"], row["repeats"]) for row in bench.events_of("1")] == [(EventKind.NOT_BELIEVED, 2)]


def test_times_are_the_databases(bench: Workbench) -> None:
    bench.add("a")
    query = bench.reconcile([item("a")])
    order = bench.order("a")
    assert order.queried_at == query.sent_at
    assert order.settled_at is not None
    assert timedelta(0) <= order.settled_at - query.sent_at < timedelta(minutes=1)


def test_an_item_whose_request_id_is_also_a_polled_orders_custom_parm_is_looked_up(bench: Workbench) -> None:
    bench.put_state(replace(bench.state(), echoes_custom_parm=True))
    bench.enqueue(BLIND[0], {"custom_parm": "x", "mobile": "18812340805"}, {"request_id": "x"})
    bench.run("UPDATE recharge_orders SET due_at = '2100-01-01 00:00:00' WHERE request_id = 'x'")
    query = bench.take()
    bench.write_back.answered(query, answer_to(query, [item("x", custom_parm="c1")]))
    assert bench.order("c1").attention is Attention.CONFLICTING_ANSWER
    assert [order.request_id for order in bench.orders()].count("x") == 1


def test_a_hostile_answer_with_thousands_of_items_settles_nothing_and_is_bounded(bench: Workbench) -> None:
    bench.add("a")
    bench.reconcile([item("a", remark=f"r{number}", custom_parm=f"p{number}") for number in range(5_000)])
    bench.make_due()
    bench.reconcile([item(f"s{number}") for number in range(5_000)])
    assert bench.order("a").state is OrderState.PENDING
    assert max(len(row["added_items"] or "") for row in bench.rows(QUERIES)) <= 20_000
