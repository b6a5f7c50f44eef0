from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.domain.builders import NOW, RULES, WINDOW, answered, failed, make_order, make_query, make_state
from worker.domain.accounts.waits import return_to_batch
from worker.domain.records.accounts import AccountState
from worker.domain.records.incoming import HttpError, Malformed, NotSent, QueryError, Refused, Unreachable
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Lane
from worker.domain.scheduling.ages_and_observations import bucket_at

BATCH = [make_order(1), make_order(2)]
MAKE_SUSPECTS = [Refused("-2", "no"), Malformed("garbage"), HttpError(403), HttpError(503), HttpError(429)]
OTHERS = [Unreachable("no route"), NotSent("late"), Refused("-205", "app"), Refused("-9", "查询过于频繁")]


def fail(state: AccountState, *errors: QueryError, first: int = 1) -> AccountState:
    for number, error in enumerate(errors, first):
        state = failed(BATCH, error, state=state, id=number).state
    return state


def answer(state: AccountState, times: int = 1) -> tuple[AccountState, list[tuple[int, int] | None]]:
    returned = []
    for _ in range(times):
        end = answered(BATCH, [], state=state)
        state = end.state
        returned.append(end.return_suspects)
    return state, returned


@pytest.mark.parametrize("error", MAKE_SUSPECTS, ids=str)
def test_three_answers_after_ten_such_failures_return_the_suspects_that_these_made(error: QueryError) -> None:
    state = fail(make_state(), *[error] * 10, first=31)
    state, returned = answer(state, 4)
    assert returned == [None, None, (62, 81), None]
    assert (state.outage_from, state.outage_until, state.suspects_returned_at) == (None, None, NOW)


def test_nine_such_failures_are_no_outage_and_an_answer_resets_their_count() -> None:
    nine = fail(make_state(), *[HttpError(403)] * 9)
    assert answer(nine, 5)[1] == [None] * 5
    answered_once, _ = answer(nine)
    assert answer(fail(answered_once, HttpError(403)), 5)[1] == [None] * 5


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_other_failures_neither_count_nor_reset_the_count(other: QueryError) -> None:
    nine = fail(make_state(), *[HttpError(403)] * 9)
    assert answer(fail(nine, other, first=10), 3)[1] == [None] * 3
    ten = fail(nine, other, HttpError(403), first=10)
    assert answer(ten, 3)[1] == [None, None, (2, 23)]


def test_a_failure_between_resets_the_count_of_answers_and_the_outage_continues() -> None:
    state, _ = answer(fail(make_state(), *[HttpError(503)] * 10), 2)
    state = fail(state, HttpError(503), first=11)
    assert answer(state, 3)[1] == [None, None, (2, 21)]


def test_an_outage_that_is_interrupted_briefly_is_one() -> None:
    state, _ = answer(fail(make_state(), *[HttpError(503)] * 10), 2)
    state = fail(state, *[HttpError(503)] * 10, first=21)
    assert answer(state, 3)[1] == [None, None, (2, 61)]


def test_suspects_are_returned_once_in_360_windows() -> None:
    recent = make_state(suspects_returned_at=NOW - 360 * WINDOW + timedelta(seconds=1))
    assert answer(fail(recent, *[HttpError(503)] * 10), 4)[1] == [None] * 4
    old = make_state(suspects_returned_at=NOW - 360 * WINDOW)
    assert answer(fail(old, *[HttpError(503)] * 10), 3)[1] == [None, None, (2, 21)]


def test_suspects_that_came_too_soon_are_returned_when_the_360_windows_are_over() -> None:
    state = fail(make_state(suspects_returned_at=NOW - 300 * WINDOW), *[HttpError(503)] * 10)
    state, _ = answer(state, 5)
    end = answered(BATCH, [], state=state, now=NOW + 60 * WINDOW)
    assert end.return_suspects == (2, 21)


def test_a_return_that_lies_ahead_since_a_clock_was_set_back_does_not_delay_the_next_one() -> None:
    ahead = make_state(suspects_returned_at=NOW + WINDOW)
    assert answer(fail(ahead, *[HttpError(503)] * 10), 3)[1] == [None, None, (2, 21)]


def test_a_returned_suspect_is_like_one_that_no_failure_ever_touched() -> None:
    plain = make_order(queried_at=NOW - 20 * WINDOW, submitted_at=NOW - 300 * WINDOW)
    plain = replace(plain, age_bucket=bucket_at(plain.submitted_at, plain.queried_at, RULES))
    suspect = replace(
        plain,
        lane=Lane.LONE_SUSPECT,
        suspect_group=8,
        age_bucket=1,
        batch_failures=3,
        unavailable_failures=4,
        failures_alone=1,
        failure_mark=7,
        failure_mark_any=9,
    )
    change = return_to_batch(suspect, make_query(BATCH), NOW, RULES)
    assert change.after == plain
    assert [event.kind for event in change.events] == [EventKind.CLEARED]
