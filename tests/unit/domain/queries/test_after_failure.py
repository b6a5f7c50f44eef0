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
    failed,
    kinds,
    leased,
    make_blind_order,
    make_order,
    make_report,
    make_state,
)
from worker.domain.queries.after_failure import Blame, QueryFailureKind, failure_kind_of
from worker.domain.records.accounts import AccountState
from worker.domain.records.incoming import (
    DeadlineExceeded,
    HttpError,
    Malformed,
    NotSent,
    QueryError,
    Refused,
    Unreachable,
)
from worker.domain.records.orders import Attention, Lane, Order, OrderState
from worker.domain.records.queries import Work
from worker.domain.scheduling.poll_schedule import next_due

REFUSED = Refused("-2", "缺少必要参数")
TOO_FREQUENT = Refused("-9", "查询过于频繁")
CONFIGURATION = Refused("-205", "应用校验失败")
MALFORMED, TIMEOUT, HTTP_500 = Malformed("not JSON"), DeadlineExceeded("no answer"), HttpError(500)
UNREACHABLE, NOT_SENT, HTTP_503 = Unreachable("no route"), NotSent("too late"), HttpError(503)

UNREADABLE = [MALFORMED, TIMEOUT, HTTP_500, HttpError(403), HttpError(414), HttpError(302)]
UNAVAILABLE = [HttpError(401), HttpError(429), HTTP_503]
NOT_THE_BATCHS_FAULT = [TOO_FREQUENT, CONFIGURATION, UNREACHABLE, NOT_SENT]
ALL = [REFUSED, *UNREADABLE, *UNAVAILABLE, *NOT_THE_BATCHS_FAULT]

BATCH = [make_order(order_id, due_at=NOW - timedelta(seconds=100 - order_id)) for order_id in range(1, 6)]
GROUP = [replace(order, lane=Lane.SUSPECT, suspect_group=3) for order in BATCH]
LONE = make_order(lane=Lane.LONE_SUSPECT, suspect_group=3)


def names(error: QueryError) -> str:
    return f"{error.outcome}-{error.status_code or error.http_status}"


# ---- which failure it is


@pytest.mark.parametrize(
    "message", ["查询过于频繁", "请求频率过高", "Too Frequent", "too many requests", "RATE LIMIT exceeded"]
)
@pytest.mark.parametrize("code", ["-9", "-205"])
def test_a_refusal_whose_message_names_frequency_is_too_fast(message: str, code: str) -> None:
    assert failure_kind_of(Refused(code, message)) is QueryFailureKind.TOO_FREQUENT


def test_minus_205_is_a_configuration_error_and_any_other_code_a_refusal() -> None:
    assert failure_kind_of(CONFIGURATION) is QueryFailureKind.CONFIGURATION
    assert failure_kind_of(REFUSED) is failure_kind_of(Refused("-1", "")) is QueryFailureKind.REFUSED


def test_any_http_status_may_be_the_batchs_fault_but_not_401_429_or_503() -> None:
    assert {failure_kind_of(HttpError(status)) for status in (301, 400, 403, 404, 414, 500, 501, 502, 504)} == {
        QueryFailureKind.UNREADABLE
    }
    assert {failure_kind_of(HttpError(status)) for status in (401, 429, 503)} == {QueryFailureKind.UNAVAILABLE}
    assert failure_kind_of(UNREACHABLE) is QueryFailureKind.UNREACHABLE


# ---- the slot


@pytest.mark.parametrize("error", ALL, ids=names)
def test_only_a_refusal_that_is_not_about_frequency_opens_the_slot_before_the_reservation_ends(
    error: QueryError,
) -> None:
    assert failed(BATCH, error).tightens_slot is (error in (REFUSED, CONFIGURATION))


# ---- the account


@pytest.mark.parametrize("error", [*UNREADABLE, HTTP_503, TOO_FREQUENT], ids=names)
def test_the_account_backs_off(error: QueryError) -> None:
    state = failed(BATCH, error, state=make_state(refusals_in_row=2)).state
    assert (state.backoff_until, state.backoff_level, state.refusals_in_row) == (NOW + WINDOW, 1, 0)


def test_refusals_back_off_from_the_third_in_a_row() -> None:
    state, waits = make_state(), []
    for _ in range(4):
        state = failed(BATCH, REFUSED, state=replace(state, backoff_until=None)).state
        waits.append(state.backoff_until)
    assert waits == [None, None, NOW + WINDOW, NOW + 2 * WINDOW]


def test_a_query_without_a_connection_backs_off_for_one_window_and_never_doubles_it() -> None:
    state = make_state(backoff_level=3, refusals_in_row=2)
    for _ in range(3):
        state = failed(BATCH, UNREACHABLE, state=replace(state, backoff_until=None)).state
        assert (state.backoff_until, state.backoff_level, state.refusals_in_row) == (NOW + WINDOW, 3, 0)
        assert state.backoff_unreachable
    # Whatever makes a longer one, that no longer ends with the connection.
    assert not failed(BATCH, HTTP_503, state=state).state.backoff_unreachable
    waiting = make_state(backoff_until=NOW + 9 * WINDOW)
    assert failed(BATCH, UNREACHABLE, state=waiting).state == waiting
    assert not answered(BATCH, [], state=state, sent_at=NOW + 2 * WINDOW).state.backoff_unreachable


@pytest.mark.parametrize("error", [CONFIGURATION, REFUSED, HttpError(401), HttpError(403)], ids=names)
@pytest.mark.parametrize("is_refused_before", [False, True])
def test_a_refusal_of_the_host_alone_backs_off_for_one_window_and_changes_nothing_else(
    error: QueryError, *, is_refused_before: bool
) -> None:
    state = make_state(configuration_refused=is_refused_before, refusals_in_row=2, failures_in_row=9, backoff_level=2)
    effects = failed(BATCH, error, state=state, blame=Blame.REFUSED)
    assert effects.state == replace(state, backoff_until=NOW + WINDOW, backoff_seconds=60.0)
    assert {change.after.lane for change in effects.changes} == {Lane.BATCH}
    assert {change.after.batch_failures + change.after.unavailable_failures for change in effects.changes} == {0}
    assert effects.tightens_slot is (error in (CONFIGURATION, REFUSED))


def test_an_order_that_a_host_in_doubt_was_refused_for_alone_is_due_as_before_for_another_host() -> None:
    order = make_order(due_at=NOW - WINDOW)
    waits = failed([order], REFUSED)
    doubted = failed([order], REFUSED, blame=Blame.DOUBTED)
    assert after(waits).due_at > NOW
    assert after(doubted) == replace(after(waits), due_at=order.due_at)
    assert doubted.state == waits.state


def test_a_query_that_was_not_sent_changes_nothing_of_the_account() -> None:
    state = make_state(refusals_in_row=2, backoff_level=1, configuration_refused=True)
    assert failed(BATCH, NOT_SENT, state=state).state == state


def test_too_fast_backs_off_every_account_of_the_sid() -> None:
    assert [error for error in ALL if failed(BATCH, error).backs_off_whole_sid] == [TOO_FREQUENT]


def test_other_statuses_back_off_at_least_for_retry_after_at_most_60_windows() -> None:
    assert failed(BATCH, HttpError(429, retry_after=1e7)).state.backoff_seconds == 3600
    assert failed(BATCH, HttpError(429, retry_after=1.0), jitter=1.0).state.backoff_seconds == pytest.approx(66)


def test_what_the_platform_asked_for_is_told_from_other_back_offs() -> None:
    asking = {error.outcome for error in ALL if failed(BATCH, error).state.backoff_requested_until is not None}
    assert asking == {"refused"}
    assert failed(BATCH, TOO_FREQUENT, jitter=1.0).state.backoff_requested_until == NOW + timedelta(seconds=66)
    asked = failed(BATCH, HttpError(502, retry_after=7.0)).state
    assert (asked.backoff_requested_until, asked.backoff_until) == (NOW + timedelta(seconds=7), NOW + WINDOW)


def test_after_a_configuration_error_one_order_is_polled_every_15_windows_until_a_success() -> None:
    state = failed(BATCH, CONFIGURATION).state
    for error in (CONFIGURATION, REFUSED, *UNREADABLE, UNREACHABLE, HTTP_503, TOO_FREQUENT):
        later = failed(BATCH, error, state=replace(state, backoff_until=None)).state
        assert (later.configuration_refused, later.backoff_until) == (True, NOW + 15 * WINDOW)
    over = replace(state, backoff_until=NOW)
    assert not answered(BATCH, [], state=over).state.configuration_refused


def test_an_answer_to_a_query_that_was_sent_before_the_back_off_began_does_not_end_it() -> None:
    state = failed(BATCH, TOO_FREQUENT).state
    older = answered(BATCH, [make_report(1)], state=state).state
    assert (older.backoff_until, older.backoff_level) == (state.backoff_until, 1)
    newer = answered(BATCH, [make_report(1)], state=state, sent_at=NOW).state
    assert (newer.backoff_until, newer.backoff_level) == (None, 0)


# ---- the orders


@pytest.mark.parametrize("error", NOT_THE_BATCHS_FAULT, ids=names)
@pytest.mark.parametrize("batch_failures", [0, 1])
def test_after_a_failure_that_is_not_the_batchs_fault_its_orders_are_due_as_before(
    error: QueryError, batch_failures: int
) -> None:
    polled = [replace(order, batch_failures=batch_failures) for order in BATCH]
    assert [change.after for change in failed(polled, error).changes] == polled


@pytest.mark.parametrize("error", UNREADABLE, ids=names)
def test_the_second_unreadable_failure_in_a_row_makes_an_order_a_suspect(error: QueryError) -> None:
    once = [change.after for change in failed(BATCH, error).changes]
    assert once == [replace(order, batch_failures=1) for order in BATCH]
    effects = failed([replace(BATCH[0], batch_failures=1), BATCH[1]], error)
    assert (after(effects, 1).lane, after(effects, 2).lane) == (Lane.LONE_SUSPECT, Lane.BATCH)
    assert (kinds(effects, 1), kinds(effects, 2)) == (["suspected"], [])


@pytest.mark.parametrize("error", UNAVAILABLE, ids=names)
def test_the_tenth_unavailable_failure_in_a_row_makes_an_order_a_suspect(error: QueryError) -> None:
    orders = BATCH
    for count in range(1, 10):
        orders = [change.after for change in failed(orders, error).changes]
        assert orders == [replace(order, unavailable_failures=count) for order in BATCH]
    suspects = [change.after for change in failed(orders, error).changes]
    assert {order.lane for order in suspects} == {Lane.SUSPECT}
    assert len({order.suspect_group for order in suspects}) == 1


def test_unavailable_failures_are_counted_apart_from_unreadable_ones() -> None:
    once = [change.after for change in failed(BATCH, HTTP_503).changes]
    twice = [change.after for change in failed(once, HTTP_500).changes]
    assert {(order.lane, order.batch_failures, order.unavailable_failures) for order in twice} == {(Lane.BATCH, 1, 1)}


@pytest.mark.parametrize("error", UNAVAILABLE, ids=names)
def test_a_group_is_halved_by_its_tenth_unavailable_failure_in_a_row_and_by_none_before(error: QueryError) -> None:
    before = [replace(order, unavailable_failures=8) for order in GROUP]
    ninth = [change.after for change in failed(before, error, work=Work.SUSPECTS).changes]
    assert {order.suspect_group for order in ninth} == {3}
    tenth = [change.after for change in failed(ninth, error, work=Work.SUSPECTS).changes]
    assert len({order.suspect_group for order in tenth}) == 2
    assert {order.unavailable_failures for order in tenth} == {0}


def test_an_answer_between_two_unreadable_failures_resets_the_count() -> None:
    polled = replace(BATCH[0], batch_failures=1, unavailable_failures=9)
    open_order = after(answered([polled], [make_report(1, traffic_sts="0")]))
    assert (open_order.batch_failures, open_order.unavailable_failures) == (0, 0)


def test_the_orders_of_a_refused_batch_become_one_group_due_as_before() -> None:
    effects = failed(BATCH, REFUSED)
    orders = [change.after for change in effects.changes]
    assert {order.lane for order in orders} == {Lane.SUSPECT}
    assert len({order.suspect_group for order in orders}) == 1
    assert [order.due_at for order in orders] == [order.due_at for order in BATCH]


@pytest.mark.parametrize("error", [REFUSED, *UNREADABLE], ids=names)
def test_a_group_that_fails_so_again_is_split_in_halves(error: QueryError) -> None:
    changes = failed(GROUP, error, work=Work.SUSPECTS).changes
    halves = [change.after.suspect_group for change in changes]
    assert halves[0] == halves[1] == halves[2] != halves[3] == halves[4]
    assert 3 not in halves
    assert [change.events for change in changes] == [()] * 5


def test_no_two_queries_make_the_same_group() -> None:
    groups = [{change.after.suspect_group for change in failed(GROUP, REFUSED, id=i).changes} for i in range(1, 6)]
    assert len(set().union(*groups)) == 10


# ---- lone suspects


def fail_alone(order: Order, error: QueryError, state: AccountState) -> Order:
    return after(failed([order], error, state=state, work=Work.SUSPECTS))


@pytest.mark.parametrize("error", [REFUSED, *UNREADABLE], ids=names)
def test_a_lone_suspect_that_failed_waits_like_any_repeated_poll_and_joins_no_batch(error: QueryError) -> None:
    submitted_at = NOW - RULES.windows(100)
    order = fail_alone(replace(LONE, submitted_at=submitted_at), error, make_state())
    assert (order.lane, order.due_at) == (Lane.LONE_SUSPECT, next_due(submitted_at, SCHEDULE, NOW, RULES))
    assert order.due_at > NOW + WINDOW
    assert order.suspect_group is not None


@pytest.mark.parametrize("error", [REFUSED, *UNREADABLE], ids=names)
def test_a_lone_suspect_that_failed_three_times_with_a_success_between_each_is_unresolved(error: QueryError) -> None:
    order = LONE
    for successes in (10, 11):
        order = fail_alone(order, error, make_state(answered_by_request_id=successes))
        assert order.state is OrderState.PENDING
    order = fail_alone(order, error, make_state(answered_by_request_id=12))
    assert (order.state, order.attention) == (OrderState.UNRESOLVED, Attention.REJECTED_BY_PLATFORM)
    assert (order.lane, order.suspect_group) == (Lane.BATCH, None)


def test_a_platform_that_refuses_everything_sets_nothing_aside() -> None:
    order = LONE
    for _ in range(9):
        order = fail_alone(order, REFUSED, make_state(answered_by_request_id=10))
    assert (order.state, order.failures_alone) == (OrderState.PENDING, 1)


def test_an_account_that_may_not_use_custom_parm_sets_nothing_aside() -> None:
    order = make_blind_order()
    for successes in range(9):
        order = fail_alone(order, REFUSED, make_state(answered_by_request_id=successes))
    assert (order.state, order.failures_alone, order.lane) == (OrderState.PENDING, 1, Lane.LONE_SUSPECT)


def test_past_the_age_limit_successes_of_either_id_kind_lie_between_the_failures_of_a_lone_order() -> None:
    order = make_blind_order(submitted_at=NOW - timedelta(seconds=RULES.unresolved_after_seconds + 5))
    for successes in range(3):
        assert order.state is OrderState.PENDING
        order = fail_alone(order, REFUSED, make_state(answered_by_request_id=successes))
    assert (order.state, order.attention) == (OrderState.UNRESOLVED, Attention.REJECTED_BY_PLATFORM)


def test_past_the_age_limit_a_platform_that_answers_nothing_sets_nothing_aside() -> None:
    order = make_blind_order(submitted_at=NOW - timedelta(seconds=RULES.unresolved_after_seconds + 5))
    for _ in range(9):
        order = fail_alone(order, REFUSED, make_state(answered_by_request_id=4, answered_by_custom_parm=2))
    assert (order.state, order.failures_alone) == (OrderState.PENDING, 1)


def test_a_half_of_one_is_a_lone_suspect() -> None:
    effects = failed(GROUP[:3], REFUSED, work=Work.SUSPECTS)
    assert [change.after.lane for change in effects.changes] == [Lane.SUSPECT, Lane.SUSPECT, Lane.LONE_SUSPECT]


def test_a_failure_by_another_id_kind_than_the_orders_own_by_now_does_not_count() -> None:
    row = leased(make_blind_order()).with_request_id("R1")
    assert after(failed([make_blind_order()], REFUSED, rows=[row])).failures_alone == 0


def test_a_single_that_fails_is_a_lone_suspect() -> None:
    effects = failed([make_order()], REFUSED, work=Work.SINGLE)
    assert (after(effects).lane, after(effects).failures_alone, kinds(effects)) == (Lane.LONE_SUSPECT, 1, ["suspected"])
    unread = failed([make_order()], TIMEOUT, work=Work.SINGLE)
    assert (after(unread).lane, after(unread).failures_alone) == (Lane.BATCH, 0)


# ---- unresolved orders that a callback has made due once more

HINTED = make_order(9, state=OrderState.UNRESOLVED, attention=Attention.TOO_OLD, check_requested_at=SENT_AT)


@pytest.mark.parametrize("error", NOT_THE_BATCHS_FAULT, ids=names)
def test_an_unresolved_order_stays_due_after_a_failure_that_is_not_its_fault(error: QueryError) -> None:
    assert after(failed([*BATCH, HINTED], error), 9) == HINTED


def test_an_unresolved_order_whose_query_is_refused_is_polled_no_more() -> None:
    # The next callback has it polled ten windows after this query, alone again.
    polled_no_more = replace(HINTED, check_requested_at=None, callback_check_after=SENT_AT + 10 * WINDOW)
    assert after(failed([HINTED], REFUSED), 9) == replace(polled_no_more, failures_alone=1)
    assert after(failed([replace(HINTED, failures_alone=3)], REFUSED), 9).failures_alone == 3


def test_an_unresolved_order_whose_batch_is_refused_is_polled_once_more_alone() -> None:
    effects, at = failed([*BATCH, HINTED], REFUSED), SENT_AT + 10 * WINDOW
    alone = replace(HINTED, due_at=at, check_requested_at=at, callback_check_after=at, failures_alone=1)
    assert after(effects, 9) == replace(alone, lane=Lane.ALONE)
    assert all(after(effects, order.id).lane is Lane.SUSPECT for order in BATCH)
    polled = failed([after(effects, 9)], REFUSED, sent_at=at)
    assert after(polled, 9).check_requested_at is None


def test_an_unresolved_order_that_no_callback_names_is_polled_no_more_after_its_batch() -> None:
    # An operator had it polled.
    assert after(failed([*BATCH, replace(HINTED, check_requested_at=None)], REFUSED), 9).check_requested_at is None


def test_an_unresolved_order_stays_due_where_the_host_may_be_what_is_refused() -> None:
    assert after(failed([*BATCH, HINTED], REFUSED, blame=Blame.DOUBTED), 9) == HINTED


def test_an_unresolved_order_that_a_callback_names_during_a_query_that_fails_is_polled_again_alone() -> None:
    at = NOW + 10 * WINDOW
    row = replace(leased(HINTED), check_requested_at=at)
    order = after(failed([HINTED], REFUSED, rows=[row]), 9)
    assert (order.state, order.check_requested_at, order.due_at, order.lane) == ("unresolved", at, at, Lane.ALONE)
