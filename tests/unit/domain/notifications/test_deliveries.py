"""Which notifications may be claimed, what a failure says, and how long an event waits."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.notifications.test_resting_endpoints import answered
from worker.domain.notifications.deliveries import (
    EVENT_WAITS,
    LEASE,
    MOST_AT_ONCE,
    Fault,
    choose_probe,
    fault_of,
    free_places,
    is_due,
    lease_ends_between,
    may_still_send,
    ranks_in_turn,
    wait_after,
)
from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, Rank

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


WITHOUT_ANSWER = {
    DeliveryOutcome.ACCEPTED: None,
    DeliveryOutcome.UNREACHABLE: Fault.ENDPOINT,
    DeliveryOutcome.TIMEOUT: Fault.ENDPOINT,
    DeliveryOutcome.MALFORMED: Fault.EVENT,
    DeliveryOutcome.REFUSED: Fault.EVENT,
}


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        *((answered(status), Fault.ENDPOINT) for status in (429, 502, 503, 504)),
        *((answered(status), Fault.EVENT) for status in (301, 307, 400, 401, 404, 408, 422, 500, 501, 505)),
        (answered(410), Fault.GONE),
        *((DeliveryResult(outcome=outcome), fault) for outcome, fault in WITHOUT_ANSWER.items()),
    ],
)
def test_an_answer_or_the_lack_of_one_says_whose_fault_a_failure_is(
    result: DeliveryResult, fault: Fault | None
) -> None:
    assert fault_of(result) is fault


@pytest.mark.parametrize(("waited", "may"), [(0.0, True), (8.0, True), (8.001, False), (3600.0, False)])
def test_nothing_is_sent_with_less_than_12_seconds_of_the_lease_left(waited: float, may: bool) -> None:
    assert may_still_send(claimed=1000.0, boot=1000.0 + waited) is may


def test_an_endpoint_gets_eight_places() -> None:
    assert free_places("a", {}, threads=16, others_wait=False) == MOST_AT_ONCE == 8
    assert free_places("a", {"a": 6}, threads=16, others_wait=True) == 2


def test_an_endpoint_gets_half_of_the_threads_while_others_wait() -> None:
    assert free_places("a", {}, threads=10, others_wait=True) == 5
    assert free_places("a", {"a": 6}, threads=10, others_wait=True) == 0


@given(
    under_way=st.dictionaries(st.sampled_from("abc"), st.integers(0, 8)),
    threads=st.integers(1, 24),
    others_wait=st.booleans(),
)
def test_no_more_is_claimed_than_can_start_at_once(under_way: dict[str, int], threads: int, others_wait: bool) -> None:
    free = free_places("a", under_way, threads=threads, others_wait=others_wait)
    assert 0 <= free <= max(0, threads - sum(under_way.values()))
    assert not free or free + under_way.get("a", 0) <= MOST_AT_ONCE


def test_four_of_five_claims_take_results_first() -> None:
    first = [ranks_in_turn(number, in_doubt=False)[0] for number in range(10)]
    assert first == [*4 * [Rank.RESULT], Rank.BULK, *4 * [Rank.RESULT], Rank.RETRY]
    assert all(set(ranks_in_turn(number, in_doubt=False)) == set(Rank) for number in range(10))


def test_of_an_endpoint_in_doubt_what_has_failed_goes_after_all_that_was_never_tried() -> None:
    ranks = [ranks_in_turn(number, in_doubt=True) for number in range(10)]
    assert [one[0] for one in ranks] == 2 * [*4 * [Rank.RESULT], Rank.BULK]
    assert all(set(one) == set(Rank) and one[-1] is Rank.RETRY for one in ranks)


@pytest.mark.parametrize(
    ("ahead", "tries", "due"),
    [
        (timedelta(0), 0, True),
        (SECOND, 0, False),
        (timedelta(seconds=11), 0, True),
        (4 * SECOND, 1, False),
        (timedelta(seconds=16), 1, True),
        (timedelta(hours=24), 9, False),
        (timedelta(hours=24), 12, False),
        (timedelta(hours=25), 9, True),
    ],
)
def test_an_event_is_due_at_its_time_or_where_a_stepped_clock_put_that_too_far_ahead(
    ahead: timedelta, tries: int, due: bool
) -> None:
    assert is_due(NOW + ahead, tries, NOW) is due


@pytest.mark.parametrize(
    ("claimed", "is_leased"),
    [
        (timedelta(0), True),
        (-19 * SECOND, True),
        (-20 * SECOND, False),
        # Claimed by somebody who read the clock later than we did.
        (9 * SECOND, True),
        (timedelta(hours=1), False),
    ],
)
def test_a_lease_runs_out_by_its_length_and_where_a_clock_was_stepped_back(claimed: timedelta, is_leased: bool) -> None:
    after, until = lease_ends_between(NOW)
    assert (after < NOW + claimed + LEASE <= until) is is_leased


def test_the_event_that_failed_last_is_no_probe_while_others_wait() -> None:
    assert choose_probe([1, 2], last_failed=1) == 2
    assert choose_probe([1, 2], last_failed=2) == 1
    assert choose_probe([1], last_failed=1) == 1
    assert choose_probe([], last_failed=1) is None


def test_an_event_waits_longer_each_time_and_is_given_up_after_75_hours() -> None:
    waits = [wait_after(tries, 0.0) for tries in range(1, 11)]
    assert waits == [*EVENT_WAITS, None]
    assert timedelta(hours=75) < sum(EVENT_WAITS, timedelta()) < timedelta(hours=76)


@given(tries=st.integers(1, 9), jitter=st.floats(0, 1))
def test_jitter_takes_a_tenth_of_a_wait_at_most(tries: int, jitter: float) -> None:
    wait = wait_after(tries, jitter)
    assert wait is not None
    assert 0.9 * EVENT_WAITS[tries - 1] <= wait <= EVENT_WAITS[tries - 1]
