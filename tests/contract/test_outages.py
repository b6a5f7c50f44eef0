"""How suspects are cleared, on every database: an outage, an id that causes an HTTP error, a stale token."""

from dataclasses import replace

from tests.support.reconciling import Workbench, answer_to, item
from worker.domain.records.orders import Lane
from worker.domain.records.query_errors import HttpError

NAMES = [f"r{number}" for number in range(6)]


def fail(bench: Workbench, status: int, times: int) -> None:
    for _ in range(times):
        bench.write_back.failed(bench.take(), HttpError(status))
        bench.clock.advance(bench.rules.reservation_seconds)
        end_back_off(bench)


def answer_all(bench: Workbench) -> None:
    query = bench.take()
    bench.write_back.answered(query, answer_to(query, [item(name, "0", None) for name in query.ids]))
    bench.clock.advance(bench.rules.spacing_seconds)


def end_back_off(bench: Workbench) -> None:
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
        answer_all(bench)
    *returned, failed_again = (bench.order(name) for name in NAMES)
    assert {(order.lane, order.suspect_group, order.batch_failures) for order in returned} == {(Lane.BATCH, None, 0)}
    assert failed_again.lane.is_suspect
    assert "cleared" in [event["kind"] for event in bench.events_of("r0")]


def test_a_stale_answer_returns_no_suspects(bench: Workbench) -> None:
    bench.add(*NAMES)
    fail(bench, 502, 12)
    stale = bench.take()
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.run("UPDATE recharge_orders SET due_at = submitted_at, lease_token = NULL")
    fresh = bench.take()
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
    stale = bench.take()
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.run("UPDATE recharge_orders SET due_at = submitted_at, lease_token = NULL WHERE request_id = 'r0'")
    fresh = bench.take()
    assert stale.ids == fresh.ids == ("r0",)

    assert bench.write_back.answered(stale, answer_to(stale, [item("r0", "0", None)])).reset_absences_since is None
    assert {order.absences for order in bench.orders()} == {0, 2}
    assert bench.write_back.answered(fresh, answer_to(fresh, [item("r0", "0", None)])).reset_absences_since == first.id
    assert {order.absences for order in bench.orders()} == {0}
