"""What is learned, the prices and the notes survive their text."""

import json
from dataclasses import replace
from math import inf

import pytest

from worker.domain.pricing.ages import ages_of
from worker.domain.pricing.curve import curve_of
from worker.domain.pricing.factors import CohortFactors, Factors
from worker.domain.pricing.json_text import (
    learned_text,
    notes_text,
    prices_text,
    read_learned,
    read_notes,
    read_prices_text,
)
from worker.domain.pricing.learning import COHORT_WINDOWS, NEVER, Learned, Look, Notes, cohort_seconds
from worker.domain.pricing.prices import price_looks, prices_of, prior_prices
from worker.domain.records.parameters import Rules

RULES = Rules()
OTHERS = [Rules(window_seconds=30.0), Rules(grace_seconds=500.0), Rules(unresolved_after_seconds=86_400.0)]


def some_notes() -> Notes:
    notes = Notes()
    notes.submitted[2_900_000] += 7
    notes.called_back[2_900_000, 12] += 3
    notes.looks[Look(2_900_000, NEVER, 40, True)] += 2
    notes.looks[Look(2_899_999, 40, 45, False)] += 1
    return notes


def some_learned() -> Learned:
    learned = Learned(ages_of(RULES))
    learned.fold(some_notes(), 1_740_000_600.25, RULES)
    return learned


def test_notes_come_back_as_they_were() -> None:
    assert read_notes(notes_text(some_notes(), RULES), RULES) == some_notes()
    assert len(notes_text(some_notes(), RULES)) < 200


def test_what_was_learned_comes_back_and_goes_on_alike() -> None:
    learned = some_learned()
    kept = read_learned(learned_text(learned, RULES), RULES)
    assert kept is not None
    assert (kept.cohorts, kept.as_of) == (learned.cohorts, learned.as_of)
    for each in (learned, kept):
        each.fold(some_notes(), 1_740_001_200.0, RULES)
    now = 1_740_090_000.0
    assert kept.curve(now, RULES).settled == pytest.approx(learned.curve(now, RULES).settled, rel=1e-6)


@pytest.mark.parametrize("chance", [0.0, 0.02, 0.5])
def test_prices_come_back_with_never_and_all(chance: float) -> None:
    bins = len(ages_of(RULES).edges) - 1
    prices = price_looks(curve_of(ages_of(RULES), [chance] * bins, 0.05), RULES)
    kept = read_prices_text(prices_text(prices, RULES), RULES)
    assert kept is not None
    assert kept.first == pytest.approx(prices.first)
    assert any(inf in due for due in kept.again)
    for last, age in ((None, 700.0), (700.0, 5_000.0), (90_000.0, 200_000.0)):
        assert kept.worth(last, age) == pytest.approx(prices.worth(last, age), rel=1e-6)


def test_what_is_known_of_cohorts_comes_back_to_three_digits() -> None:
    learned, now = some_learned(), 2_900_001 * 600.0 + 3_600.0
    prices = prices_of(learned, now, RULES, pending=1000)
    kept = read_prices_text(prices_text(prices, RULES), RULES)
    assert kept is not None
    assert set(kept.factors.by_cohort) == {2_900_000}
    for submitted in (2_900_000.5 * 600, 2_899_900 * 600.0):
        for last in (None, 10.0, 1_234.0, 200_000.0):
            assert kept.factors.factor(submitted, last) == pytest.approx(
                prices.factors.factor(submitted, last), rel=0.005
            )
    assert prices.factors.factor(2_900_000.5 * 600, 10.0) != 1


@pytest.mark.parametrize("fits", [True, False])
def test_whether_all_fits_one_batch_comes_back(fits: bool) -> None:
    kept = read_prices_text(prices_text(replace(prior_prices(RULES), fits_one_batch=fits), RULES), RULES)
    assert kept is not None
    assert kept.fits_one_batch is fits


def test_prices_that_were_stored_before_that_was_known_are_read() -> None:
    stored = json.loads(prices_text(replace(prior_prices(RULES), fits_one_batch=True), RULES))
    del stored["fits_one_batch"]
    kept = read_prices_text(json.dumps(stored), RULES)
    assert kept is not None
    assert not kept.fits_one_batch


def test_the_text_of_a_day_of_cohorts_is_some_hundred_kilobytes() -> None:
    cohorts = {
        2_900_000 - number: CohortFactors(1 / 3, (1 / 7,) * min(70, 20 + number))
        for number in range(1440 // COHORT_WINDOWS)
    }
    factors = Factors(cohort_seconds(RULES), ages_of(RULES).edges, cohorts)
    assert len(prices_text(replace(prior_prices(RULES), factors=factors), RULES)) < 120_000


def test_the_text_of_prices_is_some_ten_kilobytes() -> None:
    text = prices_text(prior_prices(RULES), RULES)
    assert len(text) < 40_000
    assert "Infinity" not in text
    json.loads(text)


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_what_was_stored_for_other_ages_is_dropped(other: Rules) -> None:
    assert read_notes(notes_text(some_notes(), RULES), other) == Notes()
    assert read_learned(learned_text(some_learned(), RULES), other) is None
    assert read_prices_text(prices_text(prior_prices(RULES), RULES), other) is None


def test_a_row_that_was_only_begun_holds_nothing() -> None:
    assert read_learned("{}", RULES) is None
    assert read_prices_text("{}", RULES) is None
