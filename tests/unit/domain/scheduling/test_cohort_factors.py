"""How a cohort's own callbacks and polls change the poll priority of its orders."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW, RULES, SCHEDULE, make_candidate
from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import NEVER, Observations, Poll, ages_of, cohort_of, cohort_seconds
from worker.domain.scheduling.cohort_factors import NO_FACTORS, CohortFactors, Factors, factors_of
from worker.domain.scheduling.learning import KEPT_WINDOWS, Learned
from worker.domain.scheduling.pick_by_priority import priority_of
from worker.domain.scheduling.poll_schedule import compute_schedule, schedule_of

AGES = ages_of(RULES)
LENGTH = cohort_seconds(RULES)
FIRST = cohort_of(NOW.timestamp(), RULES)
COHORTS = range(FIRST, FIRST + 36)
AT = COHORTS.stop * LENGTH
GRACE_OVER = AGES.bin_of(660.0)
# Half of the orders settle at once, the others in their second hour; one callback in twenty is lost.
USUAL = {30.0: 475} | {3_600.0 + 120.0 * step: 15 for step in range(30)}


def middle(cohort: int) -> float:
    return (cohort + 0.5) * LENGTH


def cohort_aged(hours: float) -> int:
    return cohort_of(AT - hours * 3_600.0, RULES)


def observed(cohort: int, callbacks: Mapping[float, int], size: int = 1000, hits: int = 5) -> Observations:
    """What is observed of a cohort: its orders, its callbacks until now, and 100 first polls."""
    observations = Observations()
    observations.submitted[cohort] += size
    for age, count in callbacks.items():
        if age < AT - middle(cohort):
            observations.called_back[cohort, AGES.bin_of(age)] += count
    observations.polls[Poll(cohort, NEVER, GRACE_OVER, True)] += hits
    observations.polls[Poll(cohort, NEVER, GRACE_OVER, False)] += 100 - hits
    return observations


def learned_after(odd: dict[int, Observations]) -> Learned:
    """What is learned after six hours of usual cohorts, with some odd ones among them."""
    learned = Learned(AGES)
    usual = {cohort: observed(cohort, USUAL) for cohort in COHORTS if cohort not in odd}
    for observations in (usual | odd).values():
        learned.fold(observations, AT, RULES)
    return learned


def factors_after(odd: dict[int, Observations]) -> Factors:
    return factors_now(learned_after(odd))


def factors_now(learned: Learned) -> Factors:
    return factors_of(learned, learned.curve(AT, RULES), AT, RULES)


def test_usual_cohorts_have_factors_near_one() -> None:
    factors = factors_after({})
    assert set(factors.by_cohort) == set(COHORTS)
    for cohort in COHORTS:
        for last in (None, 600.0, 1_800.0, 5_400.0, 20_000.0):
            assert factors.factor(middle(cohort), last) == pytest.approx(1, abs=0.35)


def test_while_no_callback_comes_for_a_cohort_a_later_poll_has_low_priority() -> None:
    silent = cohort_aged(hours=2.5)
    factors = factors_after({silent: observed(silent, {30.0: 475})})
    assert factors.factor(middle(silent), 1_800.0) < 0.05
    assert 0.2 < factors.factor(middle(silent), 6_900.0) < 0.8, "little was expected since then"


def test_when_callbacks_come_after_all_a_later_poll_has_higher_priority() -> None:
    late = cohort_aged(hours=1.2)
    factors = factors_after({late: observed(late, {30.0: 475, 4_000.0: 475})})
    assert factors.factor(middle(late), 3_600.0) > 3
    assert factors.factor(middle(late), 4_300.0) < 1, "not if it was polled since"


def test_the_more_first_polls_hit_without_callbacks_the_higher_the_priority_of_others() -> None:
    unreceived = range(cohort_aged(hours=1), cohort_aged(hours=1) + 4)
    factors = factors_after({cohort: observed(cohort, {30.0: 20}, hits=48) for cohort in unreceived})
    assert all(factors.factor(middle(cohort), None) > 3 for cohort in unreceived)
    near, far = (factors.factor(middle(cohort), None) for cohort in (unreceived.start - 1, COHORTS.start))
    assert factors.factor(middle(unreceived.start), None) > near > far


def test_no_odds_of_a_cohort_count_as_more_than_even() -> None:
    unreceived = range(cohort_aged(hours=1), cohort_aged(hours=1) + 3)
    learned = learned_after({cohort: observed(cohort, {}, hits=100) for cohort in unreceived})
    lost = learned.curve(AT, RULES).lost_share
    assert factors_now(learned).factor(middle(unreceived.start + 1), None) == pytest.approx((1 - lost) / lost)


def test_a_cohort_that_was_not_polled_yet_takes_its_factor_from_adjacent_ones() -> None:
    losing, next_one = cohort_aged(hours=1), cohort_aged(hours=1) + 1
    odd = {losing: observed(losing, {30.0: 250}, hits=33), next_one: Observations()}
    odd[next_one].submitted[next_one] += 1000
    factors = factors_after(odd)
    assert 1 < factors.factor(middle(next_one), None) < factors.factor(middle(losing), None)


def test_few_orders_change_a_factor_little() -> None:
    few = cohort_aged(hours=2.5)
    factors = factors_after({few: observed(few, {30.0: 2}, size=4, hits=0)})
    assert factors.factor(middle(few), 1_800.0) > 0.4


def test_where_most_callbacks_are_lost_nothing_is_known_of_any_cohort() -> None:
    assert factors_after({cohort: observed(cohort, {}, hits=50) for cohort in COHORTS}) == NO_FACTORS


def test_cohorts_of_more_than_a_day_ago_and_those_not_counted_from_their_start_have_no_factors() -> None:
    yesterday, straddling = cohort_of(AT - RULES.window_seconds * KEPT_WINDOWS / 2, RULES) - 1, cohort_aged(hours=2)
    odd = {yesterday: observed(yesterday, USUAL), straddling: observed(straddling, USUAL, size=500)}
    factors = factors_after(odd)
    assert yesterday not in factors.by_cohort
    assert straddling not in factors.by_cohort
    assert factors.factor(middle(straddling), 1_800.0) == factors.factor(middle(yesterday), None) == 1


def test_a_cohort_past_the_age_limit_has_a_factor_at_every_edge() -> None:
    rules = Rules(unresolved_after_seconds=7_200.0)
    learned, observations, cohort = Learned(ages_of(rules)), Observations(), cohort_aged(hours=4)
    observations.submitted[cohort] += 1000
    learned.fold(observations, AT, rules)
    known = factors_of(learned, learned.curve(AT, rules), AT, rules).by_cohort[cohort].again
    assert len(known) == len(ages_of(rules).edges)
    assert known[0] < 0.5, "no callback came at all"
    assert known[-1] == 1, "none is expected any more"


def test_a_schedule_has_the_factors_of_what_was_learned() -> None:
    learned = learned_after({})
    schedule = schedule_of(learned, AT, RULES, fits_one_batch=False)
    assert schedule.factors == factors_now(learned)
    assert replace(schedule, factors=NO_FACTORS) == compute_schedule(learned.curve(AT, RULES), RULES)


def test_between_two_edges_a_factor_is_linear_and_past_what_is_known_it_is_one() -> None:
    edges = (0.0, 10.0, 20.0)
    some = Factors(cohort_seconds=600.0, edges=edges, by_cohort={7: CohortFactors(3.0, (0.2, 0.4))})
    at = 7.5 * 600
    polls = (0.0, 5.0, 10.0, 15.0, 20.0, 99.0)
    assert [some.factor(at, last) for last in polls] == pytest.approx([0.2, 0.3, 0.4, 0.7, 1.0, 1.0])
    assert some.factor(at, None) == 3
    assert some.factor(at + 600, None) == NO_FACTORS.factor(at, 5.0) == 1


def test_a_factor_multiplies_the_poll_priority() -> None:
    order = make_candidate(submitted_at=NOW - timedelta(hours=2), queried_at=NOW - timedelta(hours=1))
    cohort = cohort_of(order.submitted_at.timestamp(), RULES)
    half = Factors(LENGTH, AGES.edges, {cohort: CohortFactors(2.0, (0.5,) * len(AGES.edges))})
    schedule = replace(SCHEDULE, factors=half)
    assert priority_of(order, schedule, NOW) == priority_of(order, SCHEDULE, NOW) / 2
    never = order._replace(queried_at=None)
    assert priority_of(never, schedule, NOW) == priority_of(never, SCHEDULE, NOW) * 2


counts = st.integers(0, 5_000)
bins = st.integers(0, len(AGES.edges) - 1)
cohorts = st.integers(COHORTS.start - 200, COHORTS.stop + 3)


@given(
    st.dictionaries(cohorts, counts, max_size=8),
    st.dictionaries(st.tuples(cohorts, bins), counts, max_size=8),
    st.dictionaries(st.builds(Poll, cohorts, st.just(NEVER) | bins, bins, st.booleans()), counts, max_size=8),
    st.none() | st.floats(0, 400_000),
)
def test_whatever_was_observed_a_factor_is_positive_and_finite(
    submitted: dict[int, int], called_back: dict[tuple[int, int], int], polls: dict[Poll, int], last: float | None
) -> None:
    learned, observations = Learned(AGES), Observations()
    observations.submitted.update(submitted)
    observations.called_back.update(called_back)
    observations.polls.update(polls)
    learned.fold(observations, AT, RULES)
    factors = factors_now(learned)
    for cohort in range(COHORTS.start - 201, COHORTS.stop + 4, 5):
        factor = factors.factor(middle(cohort), last)
        assert factor > 0
        assert isfinite(factor)
