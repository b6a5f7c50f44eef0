"""Convert what is learned, the schedule and the observations to the JSON text of their columns, and back.

A text refers to the bins of ages by number, so it also says for which ages it was made. If the settings change these
ages, the stored text is read as None, and learning begins again.
"""

import json
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Any

from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import Ages, Observations, Poll, ages_of, cohort_seconds
from worker.domain.scheduling.cohort_factors import CohortFactors, Factors
from worker.domain.scheduling.learning import Cohort, Learned
from worker.domain.scheduling.poll_schedule import PollSchedule

_FORM = "2"
"""The version of the form of these texts. Change it if the form of any text changes."""
_DIGITS = 9
_FEW_DIGITS = 3
"""The digits that are stored of a factor. There are thousands of factors, and no factor is known more precisely."""


def observations_text(observations: Observations, rules: Rules) -> str:
    """The observations, as text."""
    return _text(
        rules,
        {
            "submitted": [[cohort, count] for cohort, count in observations.submitted.items()],
            "called_back": [[*key, count] for key, count in observations.called_back.items()],
            "polls": [
                [poll.cohort, poll.last, poll.bin, int(poll.is_hit), count]
                for poll, count in observations.polls.items()
            ],
        },
    )


def read_observations(text: str, rules: Rules) -> Observations:
    """The observations that a text holds; no observations if the text was made for other ages."""
    stored = _read(text, rules)
    if stored is None:
        return Observations()
    return Observations(
        submitted=Counter(dict(stored["submitted"])),
        called_back=Counter({(cohort, bin_): count for cohort, bin_, count in stored["called_back"]}),
        polls=Counter(
            {Poll(cohort, last, bin_, bool(is_hit)): count for cohort, last, bin_, is_hit, count in stored["polls"]}
        ),
    )


def learned_text(learned: Learned, rules: Rules) -> str:
    """What was learned, as text."""
    return _text(
        rules,
        {
            "as_of": learned.as_of,
            "open_polls": [_rounded(count) for count in learned.open_polls],
            "hits": [_rounded(count) for count in learned.hits],
            "cohorts": [
                [number, cohort.size, _pairs(cohort.called_back), _pairs(cohort.first_polls), cohort.first_hits]
                for number, cohort in learned.cohorts.items()
            ],
        },
    )


def read_learned(text: str, rules: Rules) -> Learned | None:
    """What was learned, read from its text; None if the text was made for other ages."""
    stored = _read(text, rules)
    if stored is None:
        return None
    cohorts = {
        number: Cohort(size, Counter(dict(called_back)), Counter(dict(first_polls)), first_hits)
        for number, size, called_back, first_polls, first_hits in stored["cohorts"]
    }
    return Learned(ages_of(rules), cohorts, stored["open_polls"], stored["hits"], stored["as_of"])


def schedule_text(schedule: PollSchedule, rules: Rules) -> str:
    """The schedule, as text; null means never."""
    return _text(
        rules,
        {
            "levels": [_rounded(level) for level in schedule.levels],
            "last_polls": [_rounded(age) for age in schedule.last_polls],
            "first": _ages_text(schedule.first),
            "again": [_ages_text(due) for due in schedule.again],
            "fits_one_batch": schedule.fits_one_batch,
            "factors": [
                [number, _rounded(known.first), [_rounded(factor, _FEW_DIGITS) for factor in known.again]]
                for number, known in schedule.factors.by_cohort.items()
            ],
        },
    )


def read_schedule_text(text: str, rules: Rules) -> PollSchedule | None:
    """The schedule that a text holds; None if the text was made for other ages."""
    stored = _read(text, rules)
    if stored is None:
        return None
    # The thousands of numbers have only about a hundred different values. Keep each value in memory only once.
    known: dict[float, float] = {}
    return PollSchedule(
        levels=tuple(stored["levels"]),
        last_polls=tuple(stored["last_polls"]),
        first=_ages(stored["first"], known),
        again=tuple(_ages(due, known) for due in stored["again"]),
        # Texts of the previous release lack this key.
        fits_one_batch=stored.get("fits_one_batch", False),
        factors=Factors(
            cohort_seconds=cohort_seconds(rules),
            edges=ages_of(rules).edges,
            by_cohort={
                number: CohortFactors(first, tuple(known.setdefault(factor, factor) for factor in again))
                for number, first, again in stored["factors"]
            },
        ),
    )


@lru_cache(maxsize=8)
def _mark(ages: Ages) -> str:
    """A hash that identifies these ages and this form of the texts."""
    described = ",".join([_FORM, *(f"{edge:.6g}" for edge in ages.edges)])
    return blake2b(described.encode(), digest_size=6).hexdigest()


def _text(rules: Rules, values: dict[str, Any]) -> str:
    return json.dumps({"ages": _mark(ages_of(rules)), **values}, separators=(",", ":"))


def _read(text: str, rules: Rules) -> dict[str, Any] | None:
    try:
        stored = json.loads(text)
    except ValueError:
        return None
    is_ours = isinstance(stored, dict) and stored.get("ages") == _mark(ages_of(rules))
    return stored if is_ours else None


def _rounded(value: float, digits: int = _DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def _pairs(counter: Counter[int]) -> list[list[int]]:
    return [[key, count] for key, count in counter.items() if count]


def _ages_text(due: tuple[float, ...]) -> list[float | None]:
    return [None if age == inf else _rounded(age) for age in due]


def _ages(stored: list[float | None], known: dict[float, float]) -> tuple[float, ...]:
    return tuple(inf if age is None else known.setdefault(age, age) for age in stored)
