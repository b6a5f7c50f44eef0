"""Learn about an account: when its orders settle, and how often a callback is lost.

Callbacks show the age at which most orders settle, without a poll. Orders are counted in *cohorts* of some minutes, by
the time of their submission, and the callbacks of a cohort are counted by age. Polls show the rest: some of a cohort's
orders without a callback have settled, too, and their number shows how many callbacks are lost. If hardly any callback
comes, only the polls count. A poll that finds an order open shows that the order did not settle between two ages; a
poll that finds it settled shows that it did.

Each order, callback and poll is observed once, as it happens (`ages_and_observations`), and later added to what is
known (`Learned`). Old knowledge is forgotten: it loses half of its weight every 240 windows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate

from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import (
    COHORT_WINDOWS,
    NEVER,
    PRIOR_LOST_SHARE,
    Ages,
    Curve,
    Observations,
    Poll,
    cohort_of,
    cohort_seconds,
    curve_of,
    prior_chance,
)

HALF_LIFE_WINDOWS = 240
KEPT_WINDOWS = 2880
"""Cohorts older than this are dropped, because their weight is almost zero."""
RELEARN_WINDOWS = 10
"""How often an account's schedule is computed again."""
_PRIOR_ORDERS = 2.0
"""The weight of the prior curve in each bin, in orders."""
_PRIOR_ODDS = 20.0
"""The weight of the prior share of lost callbacks. It is as high as that of this many first polls that would find a
settled order if as many callbacks were lost as received."""
MOSTLY_LOST = 0.5
"""If a larger share of the callbacks is lost, only polls are used for learning."""
_BELIEF = 2.0
"""The weight of all cohorts' odds in the odds of one cohort, in the unit of `_PRIOR_ODDS`."""
_ADJACENT = 3
"""The first polls of this many cohorts before and after a cohort also count for its odds. Each step away halves their
weight."""


def is_relearning_due(computed_at: datetime, now: datetime, rules: Rules) -> bool:
    """Whether a schedule that was computed at `computed_at` must be computed again."""
    # If `computed_at` is in the future, a clock was set back since.
    return not now - rules.windows(RELEARN_WINDOWS) < computed_at <= now


@dataclass(slots=True)
class Cohort:
    """Orders that were submitted at about the same time."""

    size: int = 0
    called_back: Counter[int] = field(default_factory=Counter)
    """Orders with a callback, by the bin of the age at which it came."""
    first_polls: Counter[int] = field(default_factory=Counter)
    """First polls, by the bin of the order's age."""
    first_hits: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all orders of the cohort were counted; false if some came in before counting began."""
        return self.called_back.total() <= self.size

    @property
    def hits_at_even_odds(self) -> float:
        """How many of the cohort's first polls would have found a settled order if as many callbacks were lost as
        received."""
        came = list(accumulate(self.called_back[bin_] for bin_ in range(max(self.first_polls, default=0) + 1)))
        return sum(polls * came[bin_] / max(1.0, self.size - came[bin_]) for bin_, polls in self.first_polls.items())


@dataclass(slots=True)
class Learned:
    """All that is kept of an account's observations. The size is bounded, whatever comes in."""

    ages: Ages
    cohorts: dict[int, Cohort] = field(default_factory=dict)
    open_polls: list[float] = field(default_factory=list)
    """Orders that entered each bin open, as far as polls show; decayed."""
    hits: list[float] = field(default_factory=list)
    """Orders that settled in each bin, as far as polls show; decayed."""
    as_of: float = 0.0
    """When `open_polls` and `hits` were last decayed; seconds since the epoch."""

    def __post_init__(self) -> None:
        bins = len(self.ages.edges) - 1
        self.open_polls = self.open_polls or [0.0] * bins
        self.hits = self.hits or [0.0] * bins

    def fold(self, observations: Observations, now: float, rules: Rules) -> None:
        """Decay what is known, then add observations. `now` is in seconds since the epoch."""
        self._decay(now, rules)
        for number, count in observations.submitted.items():
            self._cohort(number).size += count
        for (number, bin_), count in observations.called_back.items():
            self._cohort(number).called_back[bin_] += count
        curve = self.curve(now, rules)
        for poll, count in observations.polls.items():
            self._learn_from(poll, count, curve)

    def curve(self, now: float, rules: Rules) -> Curve:
        """The settlement curve as learned so far."""
        polls = self._first_polls()
        odds = _odds_of_a_lost_callback(polls, now, rules)
        lost_share = _share(odds)
        if lost_share > MOSTLY_LOST:
            entered, settled = self.open_polls, self.hits
        else:
            entered, settled = self._count_cohorts(polls, odds, now, rules)
        chances = []
        for number, (open_, ended) in enumerate(zip(entered, settled, strict=True)):
            prior = prior_chance(self.ages, number)
            chance = (ended + _PRIOR_ORDERS * prior) / (max(open_, ended) + _PRIOR_ORDERS)
            chances.append(min(max(chance, 0.0), 1.0))
        return curve_of(self.ages, chances, lost_share)

    def lost_share(self, now: float, rules: Rules) -> float | None:
        """The share of callbacks that are lost; None until a poll shows something about it."""
        polls = self._first_polls()
        return _share(_odds_of_a_lost_callback(polls, now, rules)) if any(_count_hits(polls, now, rules)) else None

    def cohort_odds(self, odds: float) -> Mapping[int, float]:
        """The odds that a callback is lost, for each whole cohort. `odds` are the odds for all cohorts together.

        A cohort's odds come from its own first polls and from those of the adjacent cohorts.
        """
        return _cohort_odds(self._first_polls(), odds)

    def _first_polls(self) -> "_FirstPolls":
        whole = {number: cohort for number, cohort in self.cohorts.items() if cohort.is_whole}
        return {number: (cohort.first_hits, cohort.hits_at_even_odds) for number, cohort in whole.items()}

    def _cohort(self, number: int) -> Cohort:
        return self.cohorts.setdefault(number, Cohort())

    def _decay(self, now: float, rules: Rules) -> None:
        windows = max(0.0, now - self.as_of) / rules.window_seconds
        weight = 0.5 ** (windows / HALF_LIFE_WINDOWS)
        self.open_polls = [count * weight for count in self.open_polls]
        self.hits = [count * weight for count in self.hits]
        self.as_of = now
        oldest = cohort_of(now - KEPT_WINDOWS * rules.window_seconds, rules)
        for number in [number for number in self.cohorts if number < oldest]:
            del self.cohorts[number]

    def _learn_from(self, poll: Poll, count: int, curve: Curve) -> None:
        if poll.last == NEVER:
            cohort = self._cohort(poll.cohort)
            cohort.first_polls[poll.bin] += count
            cohort.first_hits += count * poll.is_hit
        for number, share, settles in _spread(poll, curve):
            self.open_polls[number] += count * share
            self.hits[number] += count * settles

    def _count_cohorts(
        self, polls: "_FirstPolls", odds: float, now: float, rules: Rules
    ) -> tuple[list[float], list[float]]:
        """Count for each bin the orders that entered it open, and those that settled in it.

        A cohort counts for a bin only once all its orders are older than the bin. A cohort that lost most of its
        callbacks is left out, because its orders would seem never to settle. The odds of a lost callback come from the
        remaining cohorts alone.
        """
        bins = len(self.ages.edges) - 1
        entered, settled = [0.0] * bins, [0.0] * bins
        length = cohort_seconds(rules)
        half_life = HALF_LIFE_WINDOWS * rules.window_seconds
        own_odds = _cohort_odds(polls, odds)
        heard = {number: polls[number] for number in polls if _share(own_odds[number]) <= MOSTLY_LOST}
        odds = _odds_of_a_lost_callback(heard, now, rules)
        for number in heard:
            cohort = self.cohorts[number]
            end, open_ = (number + 1) * length, float(cohort.size)
            for bin_, leaving in enumerate(self.ages.edges[1:]):
                since = now - end - leaving
                if since < 0 or open_ <= 0:
                    break
                ended = (1 + odds) * cohort.called_back[bin_]
                weight = 0.5 ** (since / half_life)
                entered[bin_] += weight * open_
                settled[bin_] += weight * ended
                open_ -= ended
        return entered, settled


_FirstPolls = Mapping[int, tuple[int, float]]
"""For the number of each whole cohort: how many of its first polls found a settled order (the hits), and how many would
have found one if as many callbacks were lost as received."""


def _odds_of_a_lost_callback(polls: _FirstPolls, now: float, rules: Rules) -> float:
    """Estimate how many callbacks are lost for each one received.

    This is the number of first polls that found a result, divided by the number expected if as many callbacks were lost
    as received.
    """
    hits, expected = _count_hits(polls, now, rules)
    return (_PRIOR_ODDS * PRIOR_LOST_SHARE + hits) / (_PRIOR_ODDS + expected)


def _count_hits(polls: _FirstPolls, now: float, rules: Rules) -> tuple[float, float]:
    """Sum the two numbers of `_FirstPolls` over all these cohorts. Older cohorts have less weight."""
    hits = expected = 0.0
    for number, (found, at_even_odds) in polls.items():
        weight = _weight(number, now, rules)
        hits += weight * found
        expected += weight * at_even_odds
    return hits, expected


def _cohort_odds(polls: _FirstPolls, odds: float) -> Mapping[int, float]:
    """The odds that a callback is lost in each of these cohorts, from its own first polls and those of the adjacent
    cohorts."""
    near = [(distance, 0.5 ** abs(distance)) for distance in range(-_ADJACENT, _ADJACENT + 1)]
    own = {}
    for number in polls:
        hits, expected = _BELIEF * odds, _BELIEF
        for distance, weight in near:
            found, at_even_odds = polls.get(number + distance, (0, 0.0))
            hits += weight * found
            expected += weight * at_even_odds
        own[number] = hits / expected
    return own


def _share(odds: float) -> float:
    return odds / (1 + odds)


def _weight(cohort: int, now: float, rules: Rules) -> float:
    windows = now / rules.window_seconds - (cohort + 1) * COHORT_WINDOWS
    return float(0.5 ** (max(0.0, windows) / HALF_LIFE_WINDOWS))


def _spread(poll: Poll, curve: Curve) -> Iterable[tuple[int, float, float]]:
    """What a poll shows about each bin, as (bin, share of an order that entered the bin open, share that settled in the
    bin).

    There is no bin beyond the age limit. A bin that an order has not left yet is counted by a later poll.
    """
    first, end = max(poll.last, 0), len(curve.settled) - 1
    if not poll.is_hit:
        return [(number, 1.0, 0.0) for number in range(first, min(poll.bin, end))]
    bins = range(first, min(max(poll.bin, first + 1), end))
    gains = [curve.settled[number + 1] - curve.settled[number] for number in bins]
    total = sum(gains) or 1.0
    left, spread = 1.0, []
    for number, gain in zip(bins, gains, strict=True):
        spread.append((number, left, gain / total))
        left -= gain / total
    return spread
