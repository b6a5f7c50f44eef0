"""When orders settle, which poll priority follows from it, and when they are due."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW, RULES, SCHEDULE
from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import (
    BUCKETS,
    PRIOR_LOST_SHARE,
    ages_of,
    bucket_of,
    curve_of,
    prior_curve,
)
from worker.domain.scheduling.poll_schedule import (
    LONGEST_WAIT_WINDOWS,
    compute_schedule,
    first_due,
    next_due,
    prior_schedule,
)

AGES = ages_of(RULES)
MANY_RULES = [
    RULES,
    Rules(window_seconds=0.2, grace_seconds=0.05),
    Rules(grace_seconds=0.0),
    Rules(grace_seconds=3_600.0, unresolved_after_seconds=3_600.0),
    Rules(unresolved_after_seconds=20.0),
]
DEAD = compute_schedule(curve_of(AGES, [0.0] * (len(AGES.edges) - 1), 0.05), RULES)
"""By this curve nothing settles: the priority is always 0."""
ages = st.floats(0, 400_000, allow_nan=False)


@pytest.mark.parametrize("rules", MANY_RULES, ids=str)
def test_edges_rise_from_nothing_to_the_age_limit(rules: Rules) -> None:
    edges = ages_of(rules).edges
    assert edges[0] == 0
    assert all(left < right for left, right in pairwise(edges))
    assert edges[-1] == pytest.approx(max(rules.unresolved_after_seconds, rules.window_seconds / 2))


def test_the_end_of_the_grace_is_an_edge() -> None:
    assert RULES.grace_seconds in AGES.edges


@given(ages)
def test_each_age_falls_into_one_bin(age: float) -> None:
    number = AGES.bin_of(age)
    assert AGES.edges[number] <= age
    assert number == len(AGES.edges) - 1 or age < AGES.edges[number + 1]
    assert AGES.bin_of(-age) == 0


@pytest.mark.parametrize("rules", MANY_RULES, ids=str)
def test_buckets_rise_with_the_age_at_the_last_poll_and_the_first_is_for_those_never_polled(rules: Rules) -> None:
    assert bucket_of(None, rules) == 0
    oldest = 10 * max(rules.unresolved_after_seconds, rules.grace_seconds)
    buckets = [bucket_of(age, rules) for age in (-5.0, 0.0, *ages_of(rules).edges, oldest)]
    assert buckets == sorted(buckets)
    assert buckets[0] == 1
    assert buckets[-1] == BUCKETS - 1


def test_buckets_are_as_narrow_as_they_can_be_where_orders_are_polled() -> None:
    # From the grace to the age limit, in equal steps: 24 buckets, of which one is for orders never polled.
    step = (RULES.unresolved_after_seconds / RULES.grace_seconds) ** (1 / (BUCKETS - 2))
    for number in range(1, BUCKETS - 1):
        assert bucket_of(RULES.grace_seconds * step ** (number - 0.5), RULES) == number


def test_the_prior_is_a_share_that_rises_and_stays_under_one() -> None:
    curve = prior_curve(AGES)
    assert curve.settled[0] == 0
    assert all(low <= high for low, high in pairwise(curve.settled))
    assert curve.settled[-1] < 1
    assert curve.lost_share == PRIOR_LOST_SHARE


def test_the_settled_share_is_linear_between_two_edges_and_constant_past_the_last() -> None:
    curve = prior_curve(AGES)
    left, right = AGES.edges[40:42]
    assert [curve.settled_at(age) for age in (-5.0, left, right)] == [0, *curve.settled[40:42]]
    assert curve.settled_at((left + right) / 2) == pytest.approx(sum(curve.settled[40:42]) / 2)
    assert curve.settled_at(2 * AGES.edges[-1]) == curve.settled[-1]


@given(st.none() | ages, ages, ages)
def test_the_older_an_order_the_higher_its_priority(last: float | None, one: float, other: float) -> None:
    earlier, later = sorted((one, other))
    assert 0 <= SCHEDULE.priority(last, earlier) <= SCHEDULE.priority(last, later) < inf


@pytest.mark.parametrize("rules", MANY_RULES, ids=str)
def test_an_order_reaches_a_higher_priority_no_earlier_than_a_lower_one(rules: Rules) -> None:
    schedule = prior_schedule(rules)
    assert list(schedule.levels) == sorted(schedule.levels)
    for due in (schedule.first, *schedule.again):
        assert list(due) == sorted(due)


@given(ages)
def test_the_priority_of_an_order_is_zero_before_it_is_due(last: float) -> None:
    due = SCHEDULE.due_age(last)
    if due < inf:
        assert SCHEDULE.priority(last, due * 0.999) == 0
        assert SCHEDULE.priority(last, due * 1.001) > 0


def test_the_first_poll_is_due_at_the_end_of_the_grace() -> None:
    assert SCHEDULE.due_age(None) == RULES.grace_seconds
    assert SCHEDULE.priority(None, RULES.grace_seconds - 1) == 0
    assert SCHEDULE.priority(None, RULES.grace_seconds) > 0
    assert first_due(NOW, RULES) == NOW + timedelta(seconds=RULES.grace_seconds)


def test_where_orders_settle_within_the_grace_a_first_poll_has_higher_priority_than_any_later_one() -> None:
    chances = [0.5 if edge < RULES.grace_seconds else 0.001 for edge in AGES.edges[:-1]]
    quick = compute_schedule(curve_of(AGES, chances, 0.05), RULES)
    assert quick.priority(None, 660.0) > quick.priority(600.0, 3_600.0)


def test_where_hardly_anything_settles_priorities_are_lower() -> None:
    stuck = compute_schedule(curve_of(AGES, [0.001] * (len(AGES.edges) - 1), 0.05), RULES)
    assert stuck.priority(600.0, 7_200.0) < SCHEDULE.priority(600.0, 7_200.0)


def test_where_nothing_settles_the_priority_is_zero_and_no_poll_is_due() -> None:
    assert DEAD.priority(600.0, 7_200.0) == 0
    assert DEAD.due_age(600.0) == inf


@given(st.floats(-1_000, 400_000))
def test_an_order_that_is_still_open_is_due_after_a_window_and_before_360(age: float) -> None:
    due = next_due(NOW - timedelta(seconds=age), SCHEDULE, NOW, RULES)
    assert NOW + RULES.windows(1) <= due <= NOW + RULES.windows(LONGEST_WAIT_WINDOWS)


@pytest.mark.parametrize(("age", "wait"), [(0, 1), (0.5, 1), (20, 10), (718, 359), (722, 360)])
def test_no_order_waits_longer_after_a_poll_than_half_of_its_age(age: float, wait: float) -> None:
    """Nor longer than 360 windows, and not less than one."""
    assert next_due(NOW - RULES.windows(age), DEAD, NOW, RULES) == NOW + RULES.windows(wait)


@pytest.mark.parametrize(("age", "wait"), [(20, 1), (500, 10), (4000, 80)])
def test_where_all_fits_one_batch_no_order_waits_longer_than_a_fiftieth_of_its_age(age: float, wait: float) -> None:
    spare = replace(DEAD, fits_one_batch=True)
    assert next_due(NOW - RULES.windows(age), spare, NOW, RULES) == NOW + RULES.windows(wait)


def test_an_order_is_due_at_the_age_limit_in_any_case() -> None:
    submitted_at = NOW - timedelta(seconds=RULES.unresolved_after_seconds) + RULES.windows(5)
    assert next_due(submitted_at, DEAD, NOW, RULES) == NOW + RULES.windows(5)
