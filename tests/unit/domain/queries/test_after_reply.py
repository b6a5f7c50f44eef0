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
from worker.domain.records.incoming import Report
from worker.domain.records.orders import Attention, Lane, Order, OrderState
from worker.domain.records.queries import Work
from worker.domain.scheduling.ages_and_observations import NEVER, bucket_of
from worker.domain.scheduling.poll_schedule import next_due


def test_an_answered_query_counts_for_each_of_its_orders() -> None:
    effects = answered([make_order(1), make_order(2)], [make_report(1, traffic_sts="0")])
    for order_id in (1, 2):
        order = after(effects, order_id)
        assert (order.queried_at, order.query_count, order.lease_token) == (SENT_AT, 1, None)
        assert order.due_at > NOW + 2 * WINDOW
    assert (effects.settled, effects.pending, effects.absent, effects.tightens_slot) == (0, 1, 1, True)


def test_an_id_that_was_not_polled_touches_no_order() -> None:
    effects = answered([make_order(1)], [make_report(1), make_report(9)], others=[make_order(9)])
    assert after(effects, 9) == make_order(9)
    assert kinds(effects, 9) == []


def test_a_success_ends_the_back_off_and_resets_the_refusals_in_a_row() -> None:
    backed_off = make_state(backoff_level=3, backoff_until=NOW, backoff_seconds=240.0)
    state = replace(backed_off, refusals_in_row=2, configuration_refused=True)
    assert answered([make_order()], [], state=state).state == make_state(answered_by_request_id=1)


def test_successes_are_counted_by_id_kind_and_those_with_items_besides() -> None:
    by_custom_parm = answered([make_blind_order()], [make_report()]).state
    assert (by_custom_parm.answered_by_custom_parm, by_custom_parm.answered_by_request_id) == (1, 0)
    assert by_custom_parm.answered_with_items == 1


def test_an_answered_group_of_suspects_is_cleared() -> None:
    group = [make_order(i, lane=Lane.SUSPECT, suspect_group=4, batch_failures=2, failures_alone=1) for i in (1, 2)]
    effects = answered(group, [make_report(1, traffic_sts="0")], work=Work.SUSPECTS)
    for order_id in (1, 2):
        order = after(effects, order_id)
        assert (order.lane, order.suspect_group, order.batch_failures, order.failures_alone) == (Lane.BATCH, None, 0, 0)
        assert kinds(effects, order_id)[0] == "cleared"


def test_a_check_requested_while_the_query_was_under_way_makes_the_order_due_now() -> None:
    order = make_order(check_requested_at=SENT_AT - timedelta(minutes=1))
    polled = after(answered([order], [make_report(traffic_sts="0")]))
    assert (polled.check_requested_at, polled.due_at > NOW) == (None, True)
    row = replace(leased(order), check_requested_at=SENT_AT + timedelta(milliseconds=1))
    again = after(answered([order], [make_report(traffic_sts="0")], rows=[row]))
    assert (again.check_requested_at, again.due_at) == (row.check_requested_at, NOW)


def test_a_check_requested_for_a_later_time_is_made_although_a_query_came_before() -> None:
    order = make_order(check_requested_at=NOW + WINDOW, due_at=SENT_AT)
    polled = after(answered([order], [make_report(traffic_sts="0")]))
    assert polled.check_requested_at == NOW + WINDOW
    assert polled.due_at <= NOW + WINDOW


# ---- orders that changed since the grant


def test_what_an_answer_says_of_an_order_that_another_query_holds_only_leaves_an_event() -> None:
    row = replace(leased(make_order()), lease_token="another")
    effects = answered([make_order()], [make_report()], rows=[row])
    assert after(effects) == row
    assert kinds(effects) == ["ignored"]
    assert answered([make_order()], [], rows=[row]).changes[0].events == ()


def test_a_cancelled_order_stays_cancelled_and_the_answer_is_recorded() -> None:
    cancelled = make_order(state=OrderState.CANCELLED)
    effects = answered([make_order()], [make_report(traffic_sts="0")], rows=[cancelled])
    assert after(effects) == cancelled
    assert kinds(effects) == ["ignored"]


# ---- customParm


def test_a_single_without_echo_accepts_one_item_whose_mobile_agrees_and_keeps_its_request_id() -> None:
    effects = answered([make_blind_order()], [make_report()], work=Work.SINGLE)
    assert (after(effects).state, after(effects).request_id) == (OrderState.SUCCEEDED, "R1")
    assert effects.absent == 0


@pytest.mark.parametrize(
    ("order", "items", "attention"),
    [
        (make_blind_order(), [make_report(mobile=None)], Attention.CONFLICTING_ANSWER),
        (make_blind_order(), [make_report(mobile="***********")], Attention.CONFLICTING_ANSWER),
        (make_blind_order(), [make_report(mobile="188********")], Attention.CONFLICTING_ANSWER),
        (make_blind_order(), [make_report(mobile=None, traffic_sts="0")], Attention.CONFLICTING_ANSWER),
        (make_blind_order(), [make_report(mobile="189****0804")], Attention.MOBILE_MISMATCH),
        (make_blind_order(mobile=None), [make_report()], Attention.CONFLICTING_ANSWER),
        (make_blind_order(), [make_report(1), make_report(2)], Attention.CONFLICTING_ANSWER),
        # Another amount needs no attention where nothing was settled.
        (make_blind_order(expected_amount=3), [make_report(mobile=None)], Attention.CONFLICTING_ANSWER),
    ],
)
def test_a_single_without_echo_is_not_settled_but_by_one_item_with_its_mobile(
    order: Order, items: list[Report], attention: Attention
) -> None:
    open_order = after(answered([order], items, work=Work.SINGLE))
    assert (open_order.state, open_order.attention) == (OrderState.PENDING, attention)
    assert (open_order.traffic_sts, open_order.request_id) == (None, None)


def test_a_single_answered_with_another_orders_custom_parm_was_left_out() -> None:
    effects = answered([make_blind_order()], [make_report(custom_parm="C9")], work=Work.SINGLE)
    assert (after(effects).attention, after(effects).traffic_sts, effects.absent) == (None, None, 1)


def test_a_single_without_echo_is_accepted_whatever_was_learned_before() -> None:
    for state in (make_state(echoes_custom_parm=True), make_state(echo_endings=2)):
        effects = answered([make_blind_order()], [make_report()], state=state)
        assert (after(effects).state, effects.absent) == (OrderState.SUCCEEDED, 0)


def test_a_foreign_item_does_not_keep_a_single_from_being_settled_by_its_own() -> None:
    effects = answered([make_blind_order()], [make_report(custom_parm="C9", request_id="R9"), make_report()])
    assert (after(effects).state, after(effects).request_id) == (OrderState.SUCCEEDED, "R1")


@pytest.mark.parametrize("status", ["0", None])
def test_an_order_that_is_still_open_is_due_again_when_its_priority_is_positive(status: str | None) -> None:
    old = make_order(submitted_at=NOW - RULES.windows(400))
    said = [make_report(traffic_sts=status)] if status else []
    assert after(answered([old], said)).due_at == next_due(old.submitted_at, SCHEDULE, NOW, RULES) > NOW + WINDOW


@pytest.mark.parametrize("age_windows", [1, 20, 500, 4000])
def test_an_order_that_was_polled_is_in_the_bucket_of_its_age_at_that_poll(age_windows: int) -> None:
    order = make_order(submitted_at=SENT_AT - RULES.windows(age_windows))
    polled = after(answered([order], []))
    assert polled.age_bucket == bucket_of(age_windows * RULES.window_seconds, RULES) > 0


def test_believed_items_of_held_orders_are_observed_as_polls() -> None:
    settled, open_, absent, doubted, lost = (
        make_order(i, submitted_at=NOW - RULES.windows(20), created_at=NOW - RULES.windows(20)) for i in range(1, 6)
    )
    said = [make_report(1), make_report(2, traffic_sts="0"), make_report(4, traffic_sts="9"), make_report(5)]
    polled = [settled, open_, absent, doubted, lost]
    rows = [*(leased(order) for order in polled[:4]), replace(leased(lost), lease_token="another")]
    polls = answered(polled, said, rows=rows).observations.polls
    assert {(poll.last, poll.is_hit): count for poll, count in polls.items()} == {(NEVER, True): 1, (NEVER, False): 1}


HINTED = make_order(1, state=OrderState.UNRESOLVED, attention=Attention.TOO_OLD, check_requested_at=SENT_AT)


@pytest.mark.parametrize("reports", [[], [make_report(2)]], ids=["left out alone", "left out of a batch"])
def test_an_unresolved_order_that_is_polled_once_more_and_left_out_is_due_no_more(reports: list[Report]) -> None:
    others = [make_order(2)] if reports else []
    order = after(answered([replace(HINTED, absences=2), *others], reports))
    assert (order.state, order.check_requested_at, order.absences, order.lane) == ("unresolved", None, 2, Lane.BATCH)
    assert (order.attention, order.query_count) == (Attention.TOO_OLD, 1)


def test_an_unresolved_order_that_is_polled_once_more_is_settled_by_the_answer() -> None:
    order = after(answered([HINTED], [make_report(1)]))
    assert (order.state, order.settled_by, order.attention) == ("succeeded", "query", None)


def test_an_unresolved_order_that_is_denied_once_more_is_not_given_up_again() -> None:
    denied = replace(HINTED, denials=3, first_denied_at=NOW - 200 * WINDOW)
    effects = answered([denied], [make_report(1, traffic_sts="-1", mobile=None, ori_amount=None)])
    assert (kinds(effects), after(effects).state) == (["not_believed"], "unresolved")
    assert (after(effects).denials, after(effects).check_requested_at) == (3, None)


def test_an_unresolved_order_that_a_callback_names_during_its_query_is_polled_again() -> None:
    at = NOW + 10 * WINDOW
    row = replace(leased(HINTED), check_requested_at=at)
    order = after(answered([HINTED], [make_report(1, traffic_sts="0")], rows=[row]))
    assert (order.state, order.check_requested_at, order.due_at, order.lease_token) == ("unresolved", at, at, None)


def test_an_order_that_is_given_up_by_a_query_during_which_a_callback_names_it_is_polled_again() -> None:
    old = make_order(1, submitted_at=NOW - timedelta(seconds=RULES.unresolved_after_seconds + 60))
    row = replace(leased(old), check_requested_at=NOW - timedelta(seconds=1))
    order = after(answered([old], [make_report(1, traffic_sts="0")], rows=[row]))
    assert (order.state, order.attention, order.check_requested_at) == ("unresolved", Attention.TOO_OLD, NOW)
    assert (order.due_at, order.lane) == (NOW, Lane.BATCH)


def test_a_one_item_platform_is_not_probed_with_an_unresolved_order() -> None:
    five = [HINTED, *(make_order(order_id) for order_id in range(2, 6))]
    state = make_state(one_item_streak=2, one_item_since=7)
    effects = answered(five, [make_report(5)], state=state, id=9)
    assert (after(effects, 1).check_requested_at, after(effects, 2).lane) == (None, Lane.ALONE)
