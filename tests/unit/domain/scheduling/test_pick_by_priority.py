"""Orders that are not due take positions that no due order needs."""

from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW, RULES, SCHEDULE, WINDOW, make_candidate
from tests.unit.domain.queries.test_choose_batch import drawn_candidates
from worker.domain.queries.choose_batch import choose, each_once, fill, free_positions, spare_pages
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import IdKind, Lane
from worker.domain.records.queries import Candidate, Pick, Reason
from worker.domain.scheduling.pick_by_priority import (
    PAGE_SIZE,
    exhausted,
    fill_spare_positions,
    last_page_size_of,
    page_size_of,
    pick_batch,
    priority_of,
)

candidates = drawn_candidates(st.just(IdKind.REQUEST_ID), st.just(Lane.BATCH))
STATE = AccountState(account="default")


def picked(waiting: list[Candidate], limit: int, batch_number: int = 0) -> tuple[Pick, ...]:
    return pick_batch(
        each_once(waiting), limit, priority=partial(priority_of, schedule=SCHEDULE, now=NOW), batch_number=batch_number
    )


def ids(picks: tuple[Pick, ...]) -> list[int]:
    return [pick.order_id for pick in picks]


@given(st.lists(candidates), st.integers(1, 100), st.integers(0, 500))
def test_a_batch_holds_each_order_once_and_as_many_as_its_limit_allows(
    waiting: list[Candidate], limit: int, batch_number: int
) -> None:
    picks = picked(waiting, limit, batch_number)
    known = {candidate.order_id for candidate in waiting}
    assert len(picks) == len(set(ids(picks))) == min(limit, len(known))
    assert set(ids(picks)) <= known
    assert picks == picked(waiting, limit, batch_number), "the same is chosen each time"


@given(st.lists(candidates, unique_by=lambda candidate: candidate.order_id), st.integers(1, 60), st.integers(0, 500))
def test_each_pick_has_the_reason_that_is_its_own(waiting: list[Candidate], limit: int, batch_number: int) -> None:
    known = {candidate.order_id: candidate for candidate in waiting}
    picks = picked(waiting, limit, batch_number)
    left = [candidate for candidate in waiting if candidate.order_id not in ids(picks)]
    priorities = [pick.priority for pick in picks if pick.reason is Reason.PRIORITY]
    assert priorities == sorted(priorities, reverse=True)
    for pick in picks:
        candidate = known[pick.order_id]
        assert pick.priority == priority_of(candidate, SCHEDULE, NOW)
        match pick.reason:
            case Reason.CHECKED:
                assert candidate.check_requested_at
            case Reason.PRIORITY:
                assert all(priority_of(other, SCHEDULE, NOW) <= pick.priority for other in left)
            case _:
                assert pick.reason is Reason.LONGEST_DUE
                assert all(candidate.due_at <= other.due_at for other in left)


def test_of_two_of_the_same_priority_the_longer_due_is_picked_first() -> None:
    assert ids(picked([make_candidate(i) for i in (3, 1, 2)], 2)) == [1, 2]


@pytest.mark.parametrize(("limit", "share"), [(100, 2), (50, 1)])
def test_each_fiftieth_position_goes_to_the_longest_due_order(limit: int, share: int) -> None:
    low = [make_candidate(i, submitted_at=NOW - timedelta(days=2), queried_at=NOW - WINDOW) for i in range(1, 50)]
    high = [make_candidate(i, due_at=NOW) for i in range(101, 301)]
    picks = picked([*low, *high], limit)
    assert ids(picks)[-share:] == list(range(1, share + 1))
    assert Counter(pick.reason for pick in picks) == {Reason.PRIORITY: limit - share, Reason.LONGEST_DUE: share}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 19, 49])
def test_fifty_small_batches_together_hold_as_many_longest_due_picks(limit: int) -> None:
    waiting = [make_candidate(i) for i in range(1, 100)]
    for start in range(0, 400, 50):
        reasons = Counter(
            pick.reason for number in range(start, start + 50) for pick in picked(waiting, limit, batch_number=number)
        )
        assert reasons[Reason.LONGEST_DUE] == limit


def test_where_all_fit_the_batch_no_position_is_kept_for_the_longest_due() -> None:
    assert {pick.reason for pick in picked([make_candidate(i) for i in range(1, 101)], 100)} == {Reason.PRIORITY}


@pytest.mark.parametrize("limit", [1, 10, 100])
def test_an_order_is_polled_however_many_others_have_higher_priority(limit: int) -> None:
    """Each batch adds new orders of higher priority. One pick in fifty still reaches those due before them."""
    stuck = {i: make_candidate(i, submitted_at=NOW - timedelta(days=2), queried_at=NOW - WINDOW) for i in range(1, 11)}
    batches = 0
    while stuck:
        fresh = [make_candidate(1000 + i, due_at=NOW) for i in range(2 * limit)]
        for order_id in ids(picked([*stuck.values(), *fresh], limit, batch_number=batches)):
            stuck.pop(order_id, None)
        batches += 1
    assert batches <= 50 * 10 / limit + 50


@pytest.mark.parametrize(("limit", "half"), [(100, 50), (5, 2), (2, 1)])
def test_requested_checks_go_first_and_fill_at_most_half_a_batch_while_others_wait(limit: int, half: int) -> None:
    checked = [make_candidate(i, due_at=NOW, check_requested_at=NOW - timedelta(seconds=i)) for i in range(1001, 1201)]
    # They wait behind all others: of priority 0 yet, and due only now.
    checked = [candidate._replace(submitted_at=NOW) for candidate in checked]
    picks = picked([*(make_candidate(i) for i in range(1, 201)), *checked], limit)
    assert ids(picks)[:half] == list(range(1200, 1200 - half, -1))
    assert all(pick.reason is Reason.CHECKED for pick in picks[:half])
    assert all(order_id <= 200 for order_id in ids(picks)[half:])


def test_of_batches_of_one_every_second_is_for_checks() -> None:
    waiting = [make_candidate(1), make_candidate(2, submitted_at=NOW, due_at=NOW, check_requested_at=NOW)]
    assert [ids(picked(waiting, 1, batch_number=number)) for number in range(4)] == [[1], [2], [1], [2]]


def test_before_anything_is_learned_the_longest_unpolled_is_picked_first() -> None:
    """The prior of every platform: of two orders of one age, the one polled longer ago has higher priority."""
    grace_over = make_candidate(1, submitted_at=NOW - timedelta(seconds=RULES.grace_seconds + 600))
    hour = timedelta(hours=1)
    polled = [
        make_candidate(i, submitted_at=NOW - 6 * hour, queried_at=NOW - minutes * WINDOW)
        for i, minutes in ((2, 5), (3, 60), (4, 180))
    ]
    assert ids(picked([*polled, grace_over], 4)) == [1, 4, 3, 2]


def test_a_clock_that_was_set_back_makes_no_last_poll_before_the_submission() -> None:
    odd = make_candidate(submitted_at=NOW, queried_at=NOW - timedelta(hours=1))
    assert priority_of(odd, SCHEDULE, NOW) == SCHEDULE.priority(0.0, 0.0)


# ---- how much is read of each age bucket


def polled(bucket: int, count: int, waited: timedelta = timedelta(hours=4)) -> list[Candidate]:
    """`count` orders of a bucket that became due `waited` ago. The longer ago, the higher their priority."""
    times = {"submitted_at": NOW - timedelta(hours=5), "queried_at": NOW - waited, "due_at": NOW - waited}
    return [make_candidate(100 * bucket + i, age_bucket=bucket, **times) for i in range(count)]


def buckets_exhausted(waiting: list[Candidate], limit: int) -> tuple[int, ...]:
    return exhausted(waiting, picked(waiting, limit), limit)


def test_a_first_page_is_small_but_for_orders_that_were_never_polled() -> None:
    assert [page_size_of(bucket, 100) for bucket in (0, 1, 23)] == [100, PAGE_SIZE, PAGE_SIZE]
    assert page_size_of(0, 5) == page_size_of(1, 5) == 5


def test_the_last_page_is_as_large_but_empty_for_orders_that_were_never_polled() -> None:
    assert [last_page_size_of(bucket, 100) for bucket in (0, 1, 23)] == [0, PAGE_SIZE, PAGE_SIZE]
    assert (last_page_size_of(0, 5), last_page_size_of(1, 5)) == (0, 5)


def test_whether_a_page_is_exhausted_depends_on_those_that_became_due_first() -> None:
    first, last = polled(7, PAGE_SIZE), polled(7, 2 * PAGE_SIZE, WINDOW)[PAGE_SIZE:]
    assert buckets_exhausted([*last, *first], PAGE_SIZE + 1) == (7,)
    # Where those that became due last have higher priority, what follows the first page has lower priority than these.
    highest = [
        each._replace(submitted_at=NOW - timedelta(hours=30), queried_at=NOW - timedelta(hours=29)) for each in last
    ]
    assert buckets_exhausted([*highest, *first], PAGE_SIZE + 1) == ()


@pytest.mark.parametrize(
    ("waiting", "limit", "buckets"),
    [
        ([*polled(7, PAGE_SIZE), *polled(9, PAGE_SIZE, WINDOW)], PAGE_SIZE + 1, (7,)),
        ([*polled(7, PAGE_SIZE), *polled(9, PAGE_SIZE)], PAGE_SIZE + 1, (7,)),
        (polled(7, PAGE_SIZE - 1), 100, ()),
        (polled(7, 5), 5, ()),
        ([make_candidate(i) for i in range(1, 101)], 100, ()),
    ],
    ids=["taken whole", "one is left of another", "less than a page", "a batch of five", "a batch never polled"],
)
def test_a_page_that_a_batch_takes_whole_is_exhausted_unless_it_is_the_batch_or_the_last(
    waiting: list[Candidate], limit: int, buckets: tuple[int, ...]
) -> None:
    assert buckets_exhausted(waiting, limit) == buckets


def test_orders_to_be_checked_that_are_left_out_do_not_keep_their_bucket_from_being_exhausted() -> None:
    checks = [each._replace(order_id=each.order_id + 50, check_requested_at=NOW) for each in polled(7, 2 * PAGE_SIZE)]
    polled_again = [each._replace(queried_at=NOW - WINDOW, due_at=NOW) for each in checks]
    assert buckets_exhausted([*polled(7, PAGE_SIZE), *polled_again], PAGE_SIZE * 2) == (7,)


@pytest.mark.parametrize(("limit", "half"), [(100, 50), (5, 2), (2, 1)])
def test_unresolved_orders_that_callbacks_made_due_fill_at_most_half_a_batch(limit: int, half: int) -> None:
    old = {"submitted_at": NOW - timedelta(days=4), "due_at": NOW - timedelta(days=1), "is_unresolved": True}
    hinted = [make_candidate(i, check_requested_at=NOW - timedelta(seconds=i), **old) for i in range(1001, 1201)]
    pending = [make_candidate(i) for i in range(1, 201)]
    assert sum(order_id > 1000 for order_id in ids(picked([*hinted, *pending], limit))) == half
    # However few others wait: the rest of the batch stays empty.
    assert len(ids(picked([*hinted, pending[0]], limit))) == half + 1


@pytest.mark.parametrize("batch_number", [0, 1])
def test_an_unresolved_order_is_polled_in_batches_of_one_where_nothing_else_waits(batch_number: int) -> None:
    hinted = make_candidate(1, check_requested_at=NOW, is_unresolved=True)
    assert ids(picked([hinted], 1, batch_number)) == [1]


def spare(order_id: int, *, at_age: float, ago: float) -> Candidate:
    """A spare order, last polled so many windows ago at an age of so many windows."""
    polled_at = NOW - ago * WINDOW
    return make_candidate(
        order_id, submitted_at=polled_at - at_age * WINDOW, queried_at=polled_at, due_at=NOW + WINDOW, age_bucket=5
    )


spares = st.lists(
    st.builds(
        lambda order_id, at_age, ago: spare(order_id, at_age=at_age, ago=ago),
        st.integers(1, 500),
        st.floats(0, 5_000),
        st.floats(0, 500),
    ),
    unique_by=lambda candidate: candidate.order_id,
)
due = st.lists(
    st.builds(lambda order_id: make_candidate(order_id, due_at=NOW), st.integers(1_000, 1_300)),
    unique_by=lambda candidate: candidate.order_id,
    min_size=1,
    max_size=120,
)


def spare_ids(candidates: list[Candidate], free: int = 100) -> list[int]:
    return ids(fill_spare_positions(candidates, free, SCHEDULE, NOW, RULES))


@given(spares, st.integers(0, 100))
def test_no_order_is_polled_within_a_window_or_a_hundredth_of_its_age(candidates: list[Candidate], free: int) -> None:
    by_id = {candidate.order_id: candidate for candidate in candidates}
    chosen = spare_ids(candidates, free)
    assert len(chosen) == len(set(chosen)) <= free
    for order_id in chosen:
        queried_at = by_id[order_id].queried_at
        assert queried_at is not None
        assert NOW - queried_at >= WINDOW
        assert NOW - queried_at >= (queried_at - by_id[order_id].submitted_at) / 100


@given(due, spares)
def test_a_spare_order_displaces_no_due_one(waiting: list[Candidate], candidates: list[Candidate]) -> None:
    choice = choose(waiting, STATE, SCHEDULE, NOW, RULES)
    assert choice is not None
    filled = fill(choice, candidates, free_positions(choice, STATE, RULES), SCHEDULE, NOW, RULES)
    assert filled.picks[: len(choice.picks)] == choice.picks
    assert len(filled.picks) <= RULES.batch_size
    assert filled.spare_ids == {pick.order_id for pick in filled.picks[len(choice.picks) :]}
    assert filled.spare_ids <= {candidate.order_id for candidate in candidates}


def test_those_come_first_whose_last_poll_is_longest_ago_for_their_age_at_it() -> None:
    old, young, middle = spare(1, at_age=100, ago=50), spare(2, at_age=10, ago=20), spare(3, at_age=10, ago=10)
    assert spare_ids([old, young, middle]) == [2, 3, 1]
    assert spare_ids([old, young, middle], free=1) == [2]


def test_of_two_alike_the_one_that_was_added_first_is_polled() -> None:
    assert spare_ids([spare(number, at_age=10, ago=5) for number in (9, 3, 7)], free=2) == [3, 7]


def test_an_order_polled_at_an_age_of_nothing_counts_as_a_window_old() -> None:
    assert spare_ids([spare(1, at_age=0, ago=2), spare(2, at_age=1, ago=3)]) == [2, 1]


def test_an_order_that_was_never_polled_waits_for_its_callback() -> None:
    assert spare_ids([make_candidate(1, submitted_at=NOW - 90 * WINDOW, due_at=NOW + WINDOW)]) == []


def test_a_spare_pick_has_its_reason_and_its_poll_priority() -> None:
    (pick,) = fill_spare_positions([spare(1, at_age=20, ago=10)], 5, SCHEDULE, NOW, RULES)
    assert (pick.order_id, pick.reason, pick.priority > 0) == (1, Reason.SPARE, True)


def test_an_order_in_another_lane_is_never_read_for_them() -> None:
    pages = spare_pages(IdKind.REQUEST_ID)
    assert {(lane, kind) for (lane, kind, _), _ in pages.not_due} == {(Lane.BATCH, IdKind.REQUEST_ID)}
    assert min(bucket for (_, _, bucket), _ in pages.not_due) == 1, "bucket 0 holds those that were never polled"
