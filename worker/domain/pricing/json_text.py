"""What is learned, the prices and the notes, between values and the JSON text of their columns.

Each text says for which ages it was made, since it speaks of them by number. Other settings make other ages: then what
was stored means nothing any more and reads as None, and learning begins anew.
"""

import json
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Any

from worker.domain.pricing.ages import Ages, ages_of
from worker.domain.pricing.factors import CohortFactors, Factors
from worker.domain.pricing.learning import Cohort, Learned, Look, Notes, cohort_seconds
from worker.domain.pricing.prices import Prices
from worker.domain.records.parameters import Rules

_FORM = "2"
"""To be changed with the form of any of these texts."""
_DIGITS = 9
_FEW_DIGITS = 3
"""Of factors there are thousands, and none is known any better."""


def notes_text(notes: Notes, rules: Rules) -> str:
    """What was noted, as text."""
    return _text(
        rules,
        {
            "submitted": [[cohort, count] for cohort, count in notes.submitted.items()],
            "called_back": [[*place, count] for place, count in notes.called_back.items()],
            "looks": [
                [look.cohort, look.last, look.bin, int(look.is_hit), count] for look, count in notes.looks.items()
            ],
        },
    )


def read_notes(text: str, rules: Rules) -> Notes:
    """What was noted; nothing where it was noted for other ages."""
    stored = _read(text, rules)
    if stored is None:
        return Notes()
    return Notes(
        submitted=_counter(stored["submitted"]),
        called_back=Counter({(cohort, bin_): count for cohort, bin_, count in stored["called_back"]}),
        looks=Counter(
            {Look(cohort, last, bin_, bool(is_hit)): count for cohort, last, bin_, is_hit, count in stored["looks"]}
        ),
    )


def learned_text(learned: Learned, rules: Rules) -> str:
    """What was learned, as text."""
    return _text(
        rules,
        {
            "as_of": learned.as_of,
            "open_looks": [_short(count) for count in learned.open_looks],
            "hits": [_short(count) for count in learned.hits],
            "cohorts": [
                [number, cohort.size, _pairs(cohort.called_back), _pairs(cohort.first_looks), cohort.first_hits]
                for number, cohort in learned.cohorts.items()
            ],
        },
    )


def read_learned(text: str, rules: Rules) -> Learned | None:
    """What was learned; None where it was learned for other ages."""
    stored = _read(text, rules)
    if stored is None:
        return None
    cohorts = {
        number: Cohort(size, _counter(called_back), _counter(first_looks), first_hits)
        for number, size, called_back, first_looks, first_hits in stored["cohorts"]
    }
    return Learned(ages_of(rules), cohorts, stored["open_looks"], stored["hits"], stored["as_of"])


def prices_text(prices: Prices, rules: Rules) -> str:
    """The prices, as text; null stands for never."""
    return _text(
        rules,
        {
            "levels": [_short(level) for level in prices.levels],
            "last_looks": [_short(age) for age in prices.last_looks],
            "first": _ages_text(prices.first),
            "again": [_ages_text(due) for due in prices.again],
            "fits_one_batch": prices.fits_one_batch,
            "factors": [
                [number, _short(known.first), [_roughly(factor) for factor in known.again]]
                for number, known in prices.factors.by_cohort.items()
            ],
        },
    )


def read_prices_text(text: str, rules: Rules) -> Prices | None:
    """The prices; None where they were made for other ages."""
    stored = _read(text, rules)
    if stored is None:
        return None
    # Thousands of numbers, of which a hundred are different: each is kept once.
    known: dict[float, float] = {}
    return Prices(
        levels=tuple(stored["levels"]),
        last_looks=tuple(stored["last_looks"]),
        first=_ages(stored["first"], known),
        again=tuple(_ages(due, known) for due in stored["again"]),
        # Texts of the release before have no such word.
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
    """What tells these ages, and this form of the texts, from others."""
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


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _roughly(value: float) -> float:
    return float(f"{value:.{_FEW_DIGITS}g}")


def _pairs(counter: Counter[int]) -> list[list[int]]:
    return [[key, count] for key, count in counter.items() if count]


def _counter(pairs: list[list[int]]) -> Counter[int]:
    counter: Counter[int] = Counter()
    for key, count in pairs:
        counter[key] += count
    return counter


def _ages_text(due: tuple[float, ...]) -> list[float | None]:
    return [None if age == inf else _short(age) for age in due]


def _ages(stored: list[float | None], known: dict[float, float]) -> tuple[float, ...]:
    return tuple(inf if age is None else known.setdefault(age, age) for age in stored)
