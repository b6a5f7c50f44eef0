"""What is learned, the poll schedules and the observations survive their text."""

import json
from dataclasses import replace
from itertools import product
from math import inf

import pytest

from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import (
    COHORT_WINDOWS,
    NEVER,
    Observations,
    Poll,
    ages_of,
    cohort_seconds,
    curve_of,
)
from worker.domain.scheduling.cohort_factors import CohortFactors, Factors
from worker.domain.scheduling.learning import Learned
from worker.domain.scheduling.poll_schedule import compute_schedule, prior_schedule, schedule_of
from worker.domain.scheduling.stored_json import (
    learned_text,
    observations_text,
    read_learned,
    read_observations,
    read_schedule_text,
    schedule_text,
)

RULES = Rules()
OTHERS = [Rules(window_seconds=30.0), Rules(grace_seconds=500.0), Rules(unresolved_after_seconds=86_400.0)]


def some_observations() -> Observations:
    observations = Observations()
    observations.submitted[2_900_000] += 7
    observations.called_back[2_900_000, 12] += 3
    observations.polls[Poll(2_900_000, NEVER, 40, True)] += 2
    observations.polls[Poll(2_899_999, 40, 45, False)] += 1
    return observations


def some_learned() -> Learned:
    learned = Learned(ages_of(RULES))
    learned.fold(some_observations(), 1_740_000_600.25, RULES)
    return learned


def test_observations_are_read_as_they_were_stored() -> None:
    assert read_observations(observations_text(some_observations(), RULES), RULES) == some_observations()
    assert len(observations_text(some_observations(), RULES)) < 200


def test_what_was_learned_is_read_as_it_was_stored_and_continues_alike() -> None:
    learned = some_learned()
    kept = read_learned(learned_text(learned, RULES), RULES)
    assert kept is not None
    assert (kept.cohorts, kept.as_of) == (learned.cohorts, learned.as_of)
    for each in (learned, kept):
        each.fold(some_observations(), 1_740_001_200.0, RULES)
    now = 1_740_090_000.0
    assert kept.curve(now, RULES).settled == pytest.approx(learned.curve(now, RULES).settled, rel=1e-6)


@pytest.mark.parametrize("chance", [0.0, 0.02, 0.5])
def test_priorities_are_read_as_stored_with_never_and_all(chance: float) -> None:
    bins = len(ages_of(RULES).edges) - 1
    schedule = compute_schedule(curve_of(ages_of(RULES), [chance] * bins, 0.05), RULES)
    kept = read_schedule_text(schedule_text(schedule, RULES), RULES)
    assert kept is not None
    assert kept.first == pytest.approx(schedule.first)
    assert any(inf in due for due in kept.again)
    for last, age in ((None, 700.0), (700.0, 5_000.0), (90_000.0, 200_000.0)):
        assert kept.priority(last, age) == pytest.approx(schedule.priority(last, age), rel=1e-6)


def test_what_is_known_of_cohorts_is_read_to_three_digits() -> None:
    learned, now = some_learned(), 2_900_001 * 600.0 + 3_600.0
    schedule = schedule_of(learned, now, RULES, fits_one_batch=False)
    kept = read_schedule_text(schedule_text(schedule, RULES), RULES)
    assert kept is not None
    assert set(kept.factors.by_cohort) == {2_900_000}
    for submitted, last in product((2_900_000.5 * 600, 2_899_900 * 600.0), (None, 10.0, 1_234.0, 200_000.0)):
        expected = schedule.factors.factor(submitted, last)
        assert kept.factors.factor(submitted, last) == pytest.approx(expected, rel=0.005)
    assert schedule.factors.factor(2_900_000.5 * 600, 10.0) != 1


@pytest.mark.parametrize("fits", [True, False])
def test_whether_all_fits_one_batch_is_read_as_stored_and_false_where_that_was_not_known(fits: bool) -> None:
    text = schedule_text(replace(prior_schedule(RULES), fits_one_batch=fits), RULES)
    before = json.loads(text)
    del before["fits_one_batch"]
    for stored, read in ((text, fits), (json.dumps(before), False)):
        kept = read_schedule_text(stored, RULES)
        assert kept is not None
        assert kept.fits_one_batch is read


def test_the_text_of_a_day_of_cohorts_is_some_hundred_kilobytes() -> None:
    numbers = range(1440 // COHORT_WINDOWS)
    cohorts = {2_900_000 - number: CohortFactors(1 / 3, (1 / 7,) * min(70, 20 + number)) for number in numbers}
    factors = Factors(cohort_seconds(RULES), ages_of(RULES).edges, cohorts)
    assert len(schedule_text(replace(prior_schedule(RULES), factors=factors), RULES)) < 120_000


def test_the_text_of_a_schedule_is_some_ten_kilobytes() -> None:
    text = schedule_text(prior_schedule(RULES), RULES)
    assert len(text) < 40_000
    assert "Infinity" not in text
    json.loads(text)


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_what_was_stored_for_other_ages_is_dropped(other: Rules) -> None:
    assert read_observations(observations_text(some_observations(), RULES), other) == Observations()
    assert read_learned(learned_text(some_learned(), RULES), other) is None
    assert read_schedule_text(schedule_text(prior_schedule(RULES), RULES), other) is None


@pytest.mark.parametrize("text", ["{}", "", "[]"])
def test_a_row_that_was_only_begun_or_is_damaged_holds_nothing(text: str) -> None:
    assert read_learned(text, RULES) is None
    assert read_schedule_text(text, RULES) is None
