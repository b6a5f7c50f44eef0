from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.domain.builders import (
    NOW,
    RULES,
    SCHEDULE,
    SENT_AT,
    WINDOW,
    after,
    answered,
    kinds,
    leased,
    make_blind_order,
    make_order,
    make_report,
    make_state,
)
from worker.domain.records.orders import Attention, Lane, OrderState
from worker.domain.records.queries import Work
from worker.domain.scheduling.ages import bucket_of
from worker.domain.scheduling.due_times import next_due
from worker.domain.scheduling.learning import NEVER


def test_an_answered_query_counts_for_each_of_its_orders() -> None:
    end = answered([make_order(1), make_order(2)], [make_report(1, traffic_sts="0")])
    for order_id in (1, 2):
        order = after(end, order_id)
        assert (order.queried_at, order.query_count, order.lease_token) == (SENT_AT, 1, None)
        assert order.due_at > NOW + 2 * WINDOW
    assert (end.settled, end.pending, end.absent, end.tightens_slot) == (0, 1, 1, True)


def test_items_are_matched_by_id_never_by_position() -> None:
    end = answered([make_order(1), make_order(2)], [make_report(2, traffic_sts="-1"), make_report(1)])
    assert (after(end, 1).state, after(end, 2).state) == (OrderState.SUCCEEDED, OrderState.FAILED)
    assert (end.settled, end.pending, end.absent) == (2, 0, 0)


def test_an_id_that_was_not_asked_for_touches_no_order() -> None:
    end = answered([make_order(1)], [make_report(1), make_report(9)], others=[make_order(9)])
    assert after(end, 9) == make_order(9)
    assert kinds(end, 9) == []


def test_a_success_ends_the_back_off_and_every_row_of_refusals() -> None:
    state = make_state(
        backoff_level=3,
        backoff_until=NOW,
        backoff_seconds=240.0,
        refusals_in_row=2,
        configuration_refused=True,
    )
    learned = answered([make_order()], [], state=state).state
    assert learned == make_state(answered_by_request_id=1)


def test_successes_are_counted_by_id_kind_and_those_with_items_besides() -> None:
    by_custom_parm = answered([make_blind_order()], [make_report()]).state
    assert (by_custom_parm.answered_by_custom_parm, by_custom_parm.answered_by_request_id) == (1, 0)
    assert by_custom_parm.answered_with_items == 1


def test_an_answered_group_of_suspects_is_cleared() -> None:
    group = [make_order(i, lane=Lane.SUSPECT, suspect_group=4, batch_failures=2, failures_alone=1) for i in (1, 2)]
    end = answered(group, [make_report(1, traffic_sts="0")], work=Work.SUSPECTS)
    for order_id in (1, 2):
        order = after(end, order_id)
        assert (order.lane, order.suspect_group, order.batch_failures, order.failures_alone) == (Lane.BATCH, None, 0, 0)
        assert kinds(end, order_id)[0] == "cleared"


def test_a_check_requested_while_the_query_was_under_way_makes_the_order_due_now() -> None:
    order = make_order(check_requested_at=SENT_AT - timedelta(minutes=1))
    asked = after(answered([order], [make_report(traffic_sts="0")]))
    assert (asked.check_requested_at, asked.due_at > NOW) == (None, True)
    row = replace(leased(order), check_requested_at=SENT_AT + timedelta(milliseconds=1))
    again = after(answered([order], [make_report(traffic_sts="0")], rows=[row]))
    assert (again.check_requested_at, again.due_at) == (row.check_requested_at, NOW)


# ---- orders that somebody else has changed since


def test_what_an_answer_says_of_an_order_that_another_query_holds_is_recorded_only() -> None:
    row = replace(leased(make_order()), lease_token="another")
    end = answered([make_order()], [make_report()], rows=[row])
    assert after(end) == row
    assert kinds(end) == ["ignored"]
    assert answered([make_order()], [], rows=[row]).changes[0].events == ()


def test_a_callback_that_came_first_stands_and_a_contradiction_is_a_late_conflict() -> None:
    settled = make_order(state=OrderState.SUCCEEDED, traffic_sts=1)
    end = answered([make_order()], [make_report(traffic_sts="-1")], rows=[settled])
    assert after(end) == replace(settled, attention=Attention.LATE_CONFLICT)


def test_a_cancelled_order_stays_cancelled_and_the_answer_is_recorded() -> None:
    cancelled = make_order(state=OrderState.CANCELLED)
    end = answered([make_order()], [make_report(traffic_sts="0")], rows=[cancelled])
    assert after(end) == cancelled
    assert kinds(end) == ["ignored"]


# ---- customParm


def test_an_echo_of_custom_parm_is_remembered() -> None:
    assert answered([make_blind_order()], [make_report(custom_parm="C1")]).state.echoes_custom_parm
    assert not answered([make_blind_order()], [make_report()]).state.echoes_custom_parm
    assert answered([make_order()], [], state=make_state(echoes_custom_parm=True)).state.echoes_custom_parm


def test_a_single_without_echo_accepts_one_item_whose_mobile_agrees_and_keeps_its_request_id() -> None:
    end = answered([make_blind_order()], [make_report()], work=Work.SINGLE)
    assert (after(end).state, after(end).request_id) == (OrderState.SUCCEEDED, "R1")
    assert end.absent == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"mobile": None},
        {"mobile": "***********"},
        {"mobile": "188********"},
        {"mobile": "189****0804"},
        {"mobile": None, "traffic_sts": "0"},
    ],
)
def test_a_single_without_echo_is_not_settled_without_the_orders_mobile(fields: dict[str, str | None]) -> None:
    end = answered([make_blind_order()], [make_report(**fields)], work=Work.SINGLE)
    order = after(end)
    assert (order.state, order.traffic_sts, order.request_id) == (OrderState.PENDING, None, None)
    assert order.attention in (Attention.CONFLICTING_ANSWER, Attention.MOBILE_MISMATCH)


def test_a_single_without_echo_is_not_settled_where_the_row_has_no_mobile() -> None:
    end = answered([make_blind_order(mobile=None)], [make_report()], work=Work.SINGLE)
    assert (after(end).state, after(end).attention) == (OrderState.PENDING, Attention.CONFLICTING_ANSWER)


def test_a_single_without_echo_is_not_settled_by_two_items() -> None:
    end = answered([make_blind_order()], [make_report(1), make_report(2)], work=Work.SINGLE)
    assert (after(end).state, after(end).attention) == (OrderState.PENDING, Attention.CONFLICTING_ANSWER)


def test_an_amount_mismatch_is_no_reason_to_look_where_nothing_was_settled() -> None:
    end = answered([make_blind_order(expected_amount=3)], [make_report(mobile=None)], work=Work.SINGLE)
    assert after(end).attention is Attention.CONFLICTING_ANSWER


def test_a_single_answered_with_another_orders_custom_parm_was_left_out() -> None:
    end = answered([make_blind_order()], [make_report(custom_parm="C9")], work=Work.SINGLE)
    assert (after(end).attention, after(end).traffic_sts, end.absent) == (None, None, 1)


def test_a_single_without_echo_is_accepted_whatever_was_learned_before() -> None:
    for state in (make_state(echoes_custom_parm=True), make_state(echo_endings=2)):
        end = answered([make_blind_order()], [make_report()], state=state)
        assert (after(end).state, end.absent) == (OrderState.SUCCEEDED, 0)


def test_a_foreign_item_beside_it_does_not_keep_a_single_from_its_own() -> None:
    end = answered([make_blind_order()], [make_report(custom_parm="C9", request_id="R9"), make_report()])
    assert (after(end).state, after(end).request_id) == (OrderState.SUCCEEDED, "R1")


def test_a_check_that_was_requested_while_the_clock_was_ahead_is_served_once() -> None:
    order = make_order(check_requested_at=NOW + timedelta(hours=1))
    asked = after(answered([order], [make_report(traffic_sts="0")]))
    assert (asked.check_requested_at, asked.due_at > NOW) == (None, True)


@pytest.mark.parametrize("status", ["0", None])
def test_an_order_that_is_still_open_is_due_again_when_a_look_is_worth_anything(status: str | None) -> None:
    old = make_order(submitted_at=NOW - RULES.windows(400))
    said = [make_report(traffic_sts=status)] if status else []
    assert after(answered([old], said)).due_at == next_due(old.submitted_at, SCHEDULE, NOW, RULES) > NOW + WINDOW


@pytest.mark.parametrize("age_windows", [1, 20, 500, 4000])
def test_an_order_that_was_polled_stands_in_the_group_of_its_age_at_that_look(age_windows: int) -> None:
    order = make_order(submitted_at=SENT_AT - RULES.windows(age_windows))
    asked = after(answered([order], []))
    assert asked.age_bucket == bucket_of(age_windows * RULES.window_seconds, RULES) > 0


def test_what_was_said_and_believed_of_held_orders_is_noted_as_looks() -> None:
    settled, open_, absent, doubted, lost = (
        make_order(i, submitted_at=NOW - RULES.windows(20), created_at=NOW - RULES.windows(20)) for i in range(1, 6)
    )
    said = [make_report(1), make_report(2, traffic_sts="0"), make_report(4, traffic_sts="9"), make_report(5)]
    asked = [settled, open_, absent, doubted, lost]
    rows = [*(leased(order) for order in asked[:4]), replace(leased(lost), lease_token="another")]
    polls = answered(asked, said, rows=rows).observations.polls
    assert {(poll.last, poll.is_hit): count for poll, count in polls.items()} == {(NEVER, True): 1, (NEVER, False): 1}
