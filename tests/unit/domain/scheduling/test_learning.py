"""What is learned from callbacks and polls, and how it is forgotten."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.unit.domain.builders import NOW, RULES
from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import (
    COHORT_WINDOWS,
    NEVER,
    PRIOR_LOST_SHARE,
    Curve,
    Observations,
    Poll,
    ages_of,
    cohort_of,
    prior_curve,
)
from worker.domain.scheduling.learning import (
    HALF_LIFE_WINDOWS,
    KEPT_WINDOWS,
    RELEARN_WINDOWS,
    Learned,
    is_relearning_due,
)

AGES = ages_of(RULES)
START = NOW.timestamp()
FIRST = cohort_of(START, RULES)
HOUR = 3600.0


def bin_of(age: float) -> int:
    return AGES.bin_of(age)


def share_at(curve: Curve, age: float) -> float:
    return curve.settled[bin_of(age)]


def observations_of(
    cohort: int, size: int, callbacks: dict[float, int], polls: Mapping[Poll, int] | None = None
) -> Observations:
    observations = Observations()
    observations.submitted[cohort] += size
    for age, count in callbacks.items():
        observations.called_back[cohort, bin_of(age)] += count
    observations.polls.update(polls or {})
    return observations


def learned_from(polls: Mapping[Poll, int]) -> Learned:
    learned = Learned(AGES)
    learned.fold(observations_of(FIRST, 0, {}, polls), START, RULES)
    return learned


def day_of(callbacks: dict[float, int], learned: Learned, size: int = 100, began: float = START) -> float:
    """A day of cohorts whose callbacks come at these ages; returns its end."""
    for number in range(144):
        learned.fold(observations_of(cohort_of(began, RULES) + number, size, callbacks), began + number * 600.0, RULES)
    return began + 86_400.0


def test_before_anything_is_observed_the_curve_is_the_prior() -> None:
    learned = Learned(AGES)
    curve = learned.curve(START, RULES)
    assert curve.settled == pytest.approx(prior_curve(AGES).settled, abs=0.01)
    assert curve.lost_share == pytest.approx(PRIOR_LOST_SHARE, rel=0.1)


def test_the_share_of_lost_callbacks_is_not_known_before_a_poll_has_shown_something_of_it() -> None:
    learned, missed = Learned(AGES), Poll(FIRST, NEVER, bin_of(700.0), is_hit=False)
    learned.fold(observations_of(FIRST, 10, {}, {missed: 5}), START + 700.0, RULES)
    assert learned.lost_share(START + 700.0, RULES) is None
    learned.fold(observations_of(FIRST, 0, {}, {replace(missed, is_hit=True): 1}), START + 700.0, RULES)
    shares = learned.lost_share(START + 700.0, RULES), learned.curve(START + 700.0, RULES).lost_share
    assert shares[0] == shares[1] == pytest.approx(2 / 22, abs=0.01)


def test_callbacks_show_when_orders_settle() -> None:
    learned = Learned(AGES)
    end = day_of({40.0: 50, 4_000.0: 40}, learned)
    curve = learned.curve(end, RULES)
    assert share_at(curve, 120.0) == pytest.approx(0.525, abs=0.05)
    assert share_at(curve, 3_000.0) == pytest.approx(0.525, abs=0.08)
    assert share_at(curve, 8_000.0) == pytest.approx(0.945, abs=0.05)


def test_a_cohort_that_has_reached_the_age_limit_counts_up_to_the_last_bin() -> None:
    rules = Rules(unresolved_after_seconds=7_200.0)
    ages, cohort = ages_of(rules), cohort_of(START, rules)
    learned, observations = Learned(ages), Observations()
    observations.submitted[cohort] += 1000
    observations.called_back[cohort, ages.bin_of(1_000.0)] += 500
    learned.fold(observations, START + 4 * HOUR, rules)
    curve = learned.curve(START + 4 * HOUR, rules)
    assert curve.settled[ages.bin_of(900.0)] < 0.1
    assert curve.settled[-1] == pytest.approx(0.525, abs=0.05)


def test_first_polls_show_how_many_callbacks_are_lost() -> None:
    learned = Learned(AGES)
    for number in range(144):
        hit = Poll(FIRST + number, NEVER, bin_of(700.0), True)
        learned.fold(observations_of(hit.cohort, 100, {30.0: 80}, {hit: 20}), START + number * 600.0, RULES)
    assert learned.curve(START + 86_400.0, RULES).lost_share == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(
    ("hits", "is_evidence"),
    [
        pytest.param(80, False, id="lost ones say nothing of when orders settle"),
        pytest.param(0, True, id="missing ones of orders that have not settled do"),
    ],
)
def test_callbacks_that_stop(hits: int, is_evidence: bool) -> None:
    usual, later = Learned(AGES), Learned(AGES)
    for number in range(72):
        hit, goes_well = Poll(FIRST + number, NEVER, bin_of(700.0), True), number < 60
        polls = {hit: 1 if goes_well else hits, replace(hit, is_hit=False): 19 if goes_well else 100 - hits}
        observations = observations_of(hit.cohort, 100, {30.0: 80, 1_500.0: 15} if goes_well else {}, polls)
        later.fold(observations, START + number * 600.0, RULES)
        if goes_well:
            usual.fold(observations, START + number * 600.0, RULES)
    now = START + 12.5 * HOUR
    assert later.curve(now, RULES).lost_share < 0.5
    assert (chance_by_the_hour(later, now) < chance_by_the_hour(usual, now) - 0.2) is is_evidence


def chance_by_the_hour(learned: Learned, now: float) -> float:
    """The chance that an order settles by the age of an hour, having been open at the end of the grace."""
    curve = learned.curve(now, RULES)
    open_, settled = 1 - share_at(curve, 700.0), share_at(curve, HOUR) - share_at(curve, 700.0)
    return settled / open_


def test_an_account_without_callbacks_learns_from_its_polls() -> None:
    learned, chance = Learned(AGES), random.Random(7)
    for number in range(144):
        cohort = cohort_of(START, RULES) + number
        observations = observations_of(cohort, 40, {})
        for _ in range(40):
            settled_at = chance.choice([60.0, 60.0, 60.0, 20_000.0])
            last, age = NEVER, 660.0
            while True:
                observations.polls[Poll(cohort, last, bin_of(age), settled_at <= age)] += 1
                if settled_at <= age:
                    break
                last, age = bin_of(age), 2 * age
        learned.fold(observations, START + number * 600.0, RULES)
    curve = learned.curve(START + 86_400.0, RULES)
    assert curve.lost_share > 0.9
    assert share_at(curve, 700.0) == pytest.approx(0.75, abs=0.1)
    assert share_at(curve, 8_000.0) == pytest.approx(0.75, abs=0.12)
    assert share_at(curve, 43_000.0) > 0.9


def test_a_poll_that_hits_within_the_bin_of_the_last_one_counts() -> None:
    learned = learned_from({Poll(FIRST, 20, 20, True): 1})
    assert (learned.hits[20], learned.open_polls[20]) == (1.0, 1.0)


@pytest.mark.parametrize("is_hit", [True, False])
def test_a_poll_past_the_age_limit_changes_nothing(is_hit: bool) -> None:
    last, past = (bin_of(share * RULES.unresolved_after_seconds) for share in (1.5, 2))
    learned = learned_from({Poll(FIRST, last, past, is_hit): 1})
    assert not any(learned.open_polls)
    assert not any(learned.hits)


def test_an_order_counts_once_in_a_bin_however_often_it_is_polled_there() -> None:
    polls = {Poll(FIRST, 18, 20, False): 1, Poll(FIRST, 20, 20, False): 7, Poll(FIRST, 20, 21, False): 1}
    learned = learned_from(polls)
    assert learned.open_polls[18:22] == [1.0, 1.0, 1.0, 0.0]


def test_a_cohort_whose_first_orders_were_not_counted_does_not_count() -> None:
    healthy, straddling = Learned(AGES), Learned(AGES)
    for learned in (healthy, straddling):
        for cohort in range(FIRST, FIRST + 6):
            hit = Poll(cohort, NEVER, bin_of(700.0), True)
            learned.fold(observations_of(cohort, 4000, {30.0: 3800}, {hit: 190}), START + 3600.0, RULES)
    missed = Poll(FIRST - 1, NEVER, bin_of(700.0), False)
    straddling.fold(observations_of(FIRST - 1, 2000, {30.0: 2400}, {missed: 200}), START + 3600.0, RULES)
    at = START + 2 * HOUR
    assert straddling.curve(at, RULES).lost_share == pytest.approx(healthy.curve(at, RULES).lost_share)


def test_each_observation_counts_once_however_observations_are_added_up() -> None:
    together, apart, sum_of = Learned(AGES), Learned(AGES), Observations()
    for age in (30.0, 90.0, 90.0):
        observations = observations_of(FIRST, 10, {age: 2}, {Poll(FIRST, NEVER, bin_of(700.0), False): 3})
        apart.fold(observations, START, RULES)
        sum_of.add(observations)
    together.fold(sum_of, START, RULES)
    assert together.cohorts == apart.cohorts
    assert together.open_polls == pytest.approx(apart.open_polls)
    (kept,) = together.cohorts.values()
    assert (kept.size, kept.called_back[bin_of(90.0)], kept.first_polls[bin_of(700.0)]) == (30, 4, 9)


def test_old_observations_are_forgotten() -> None:
    learned = Learned(AGES)
    changed = day_of({30.0: 90}, learned)
    day_of({20_000.0: 90}, learned, began=changed)
    curve = learned.curve(changed + 86_400.0, RULES)
    assert share_at(curve, 600.0) < 0.2
    assert share_at(curve, 40_000.0) > 0.6


def test_polls_lose_half_of_their_weight_in_a_half_life() -> None:
    learned = learned_from({Poll(FIRST, NEVER, 30, False): 8})
    learned.fold(Observations(), START + HALF_LIFE_WINDOWS * RULES.window_seconds, RULES)
    assert learned.open_polls[10] == pytest.approx(4)


def test_a_clock_that_was_set_back_forgets_nothing() -> None:
    learned = learned_from({Poll(FIRST, NEVER, 30, False): 8})
    learned.fold(Observations(), START - HOUR, RULES)
    assert learned.open_polls[10] == 8


def test_cohorts_are_kept_for_two_days_and_no_longer() -> None:
    learned = Learned(AGES)
    for number in range(KEPT_WINDOWS // COHORT_WINDOWS + 20):
        at = START + number * COHORT_WINDOWS * RULES.window_seconds
        learned.fold(observations_of(cohort_of(at, RULES), 5, {30.0: 4}), at, RULES)
    assert len(learned.cohorts) <= KEPT_WINDOWS / COHORT_WINDOWS + 2
    assert len(learned.hits) == len(AGES.edges) - 1


def test_a_schedule_is_computed_again_after_ten_windows_or_where_its_time_lies_ahead() -> None:
    assert RELEARN_WINDOWS == 10
    ages = [RULES.windows(0), RULES.windows(9.9), RULES.windows(10), -RULES.windows(1)]
    assert [is_relearning_due(NOW - age, NOW, RULES) for age in ages] == [False, False, True, True]
