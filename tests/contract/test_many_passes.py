"""Polling over many passes, on every database: suspects, outages, absence, one-item platforms, customParm."""

from dataclasses import replace

from tests.support.reconciling import Workbench, answer_to, item
from tests.support.settled_orders import callback
from worker.database.tables import QUERIES
from worker.domain.records.incoming import HttpError, Refused
from worker.domain.records.orders import Attention, Lane, OrderState


def test_a_refused_batch_is_halved_until_the_cause_is_alone_and_the_others_settle(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(100)))
    refused = 0
    while any(order.state is OrderState.PENDING for order in bench.orders() if order.request_id != "r42"):
        query = bench.take()
        if "r42" in query.ids:
            bench.write_back.failed(query, Refused("-7", "系统错误"))
            refused += 1
            bench.put_state(replace(bench.state(), backoff_until=None))
        else:
            bench.write_back.answered(query, answer_to(query, [item(name) for name in query.ids]))
        bench.clock.advance(bench.rules.spacing_seconds)
    culprit = bench.order("r42")
    assert (culprit.state, culprit.lane) == (OrderState.PENDING, Lane.LONE_SUSPECT)
    assert refused <= 8
    assert len(bench.rows(QUERIES)) <= 16


def test_an_id_left_out_three_times_is_polled_alone_and_after_three_empty_answers_given_up(bench: Workbench) -> None:
    bench.add("ghost", "witness")
    for _ in range(3):
        bench.reconcile([item("witness", "0", None)])
        bench.make_due()
    assert bench.order("ghost").lane is Lane.ALONE
    alone = 0
    while bench.order("ghost").state is OrderState.PENDING:
        query = bench.take()
        items = [item("witness", "0", None)] if "witness" in query.ids else []
        alone += query.ids == ("ghost",)
        bench.write_back.answered(query, answer_to(query, items))
        bench.clock.advance(bench.rules.spacing_seconds)
        bench.make_due()
    assert alone == 3
    assert bench.order("ghost").attention is Attention.UNKNOWN_TO_PLATFORM
    bench.intake.record_callbacks([callback("ghost")])
    order = bench.order("ghost")
    assert (order.state, order.attention) == (OrderState.SUCCEEDED, None)


def test_a_platform_that_answers_one_order_a_query_is_polled_one_by_one(bench: Workbench) -> None:
    names = [f"r{number}" for number in range(8)]
    bench.add(*names)
    query = None
    while not bench.state().one_item_mode:
        query = bench.take()
        bench.write_back.answered(query, answer_to(query, [item(query.ids[0], "0", None)]))
        bench.clock.advance(bench.rules.spacing_seconds)
        bench.make_due()
    assert query is not None
    assert query.is_alone, "only an order that was left out and is then answered alone proves it"
    assert {(order.absences, order.lane) for order in bench.orders()} == {(0, Lane.BATCH)}

    assert len(bench.reconcile([]).ids) == 1
    bench.put_state(replace(bench.state(), batch_retry_at=bench.order("r0").submitted_at))
    bench.make_due()
    both = bench.take()
    assert len(both.ids) == 8
    bench.write_back.answered(both, answer_to(both, [item(name, "0", None) for name in names[:2]]))
    assert not bench.state().one_item_mode


def test_a_single_without_echo_is_believed_with_the_orders_mobile_and_its_request_id_is_kept(bench: Workbench) -> None:
    bench.enqueue({"custom_parm": "c1", "mobile": "18812340804"}, {"custom_parm": "c2", "mobile": "13900000001"})
    bench.reconcile([item("p1", mobile="188****0804")])
    bench.reconcile([item("p2", mobile="188****0804")])
    won, doubted = bench.order("c1"), bench.order("c2")
    assert (won.state, won.request_id) == (OrderState.SUCCEEDED, "p1")
    assert (doubted.state, doubted.request_id) == (OrderState.PENDING, None)
    assert doubted.attention is Attention.MOBILE_MISMATCH


NAMES = [f"r{number}" for number in range(6)]


def fail(bench: Workbench, status: int, times: int) -> None:
    for _ in range(times):
        bench.write_back.failed(bench.take(), HttpError(status))
        bench.clock.advance(bench.rules.reservation_seconds)
        bench.put_state(replace(bench.state(), backoff_until=None))


def test_suspects_of_an_outage_are_returned_by_the_third_answer_after_it(bench: Workbench) -> None:
    bench.add(*NAMES)
    fail(bench, 502, 12)
    assert all(order.lane.is_suspect for order in bench.orders())
    bench.add("later")
    # Not due: the three answers are not about suspects, so nothing but the return clears them.
    bench.run("UPDATE recharge_orders SET due_at = '2100-01-01 00:00:00' WHERE request_id <> 'later'")
    bench.run("UPDATE recharge_orders SET failures_alone = 2 WHERE request_id = 'r5'")
    for number in range(3):
        assert all(bench.order(name).lane.is_suspect for name in NAMES), number
        bench.run("UPDATE recharge_orders SET due_at = submitted_at WHERE request_id = 'later'")
        assert bench.reconcile([item("later", "0", None)]).ids == ("later",)
    *returned, failed_again = (bench.order(name) for name in NAMES)
    assert {(order.lane, order.suspect_group, order.batch_failures) for order in returned} == {(Lane.BATCH, None, 0)}
    assert failed_again.lane.is_suspect
    assert "cleared" in [event["kind"] for event in bench.events_of("r0")]


def test_a_stale_answer_returns_no_suspects(bench: Workbench) -> None:
    bench.add(*NAMES)
    fail(bench, 502, 12)
    stale, fresh = bench.take_twice()
    # This would be the third answer after the outage.
    state = replace(bench.state(), answers_in_row=2)
    bench.put_state(state)
    before = bench.orders()
    answer = answer_to(stale, [item(name, "0", None) for name in stale.ids])
    assert bench.write_back.answered(stale, answer).return_suspects is None
    assert (bench.state(), bench.orders()) == (state, before)
    assert bench.write_back.answered(fresh, answer_to(fresh, [])).return_suspects is not None


def test_a_stale_answer_resets_no_absences(bench: Workbench) -> None:
    bench.add(*NAMES)
    first = bench.reconcile([item("r0", "0", None)])
    bench.run("UPDATE recharge_orders SET absences = 2, due_at = '2100-01-01 00:00:00' WHERE request_id <> 'r0'")
    # The answer to this query decides whether the platform answers one order a query.
    probe = "lane = 'alone', due_at = submitted_at, check_requested_at = submitted_at"
    bench.run(f"UPDATE recharge_orders SET {probe} WHERE request_id = 'r0'")
    bench.put_state(replace(bench.state(), one_item_streak=3, one_item_since=first.id))
    stale, fresh = bench.take_twice()
    assert stale.ids == fresh.ids == ("r0",)

    assert bench.write_back.answered(stale, answer_to(stale, [item("r0", "0", None)])).reset_absences_since is None
    assert {order.absences for order in bench.orders()} == {0, 2}
    assert bench.write_back.answered(fresh, answer_to(fresh, [item("r0", "0", None)])).reset_absences_since == first.id
    assert {order.absences for order in bench.orders()} == {0}
