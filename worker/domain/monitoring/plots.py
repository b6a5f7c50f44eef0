"""Compute the figures of the overview's plots, which show the last 24 hours.

This module decides into which bucket each row falls, and what follows from the counts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from worker.domain.records.orders import Source

DELAY_LIMITS = (60, 120, 300, 600, 1_800, 3_600, 21_600, 86_400)
"""The upper ends of the bars of delays, in seconds. The last bar has no upper end."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LASTS = timedelta(hours=24)
BUCKET = timedelta(minutes=30)
"""The length of each bucket in which the figures are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plots:
    """All plotted figures, at `now` by the database's clock. Each sequence, except those in `delays`, has one figure
    for each bucket."""

    now: datetime
    starts: Sequence[datetime]
    """When each bucket begins; the last one is not over yet."""
    submitted: Sequence[int]
    succeeded: Sequence[int]
    failed: Sequence[int]
    pending: int
    """The orders that are pending now."""
    due: int
    """The orders that are due now."""
    backlog: Sequence[int]
    """The pending orders at the end of each bucket; the last figure is the present one."""
    delays: Mapping[Source, Sequence[int]]
    """How many of the last settled orders took how long, by source. There is one figure for each of `DELAY_LIMITS`, and
    one more for longer delays."""


def bucket_starts(now: datetime) -> list[datetime]:
    """When each bucket begins, on even half-hours; the last one holds `now`."""
    last = now - (now - _EPOCH) % BUCKET
    return [last - BUCKET * before for before in range(_LASTS // BUCKET - 1, -1, -1)]


def count_times(starts: Sequence[datetime], times: Iterable[tuple[datetime, int]]) -> list[int]:
    """The sum of the numbers in each bucket. `times` holds (time, number).

    A time before the first bucket is left out. A time after the last bucket counts in the last one: a clock may have
    been set back.
    """
    counts = [0] * len(starts)
    for time, number in times:
        bucket = bisect_right(starts, time) - 1
        if bucket >= 0:
            counts[bucket] += number
    return counts


def backlog(pending: int, came: Sequence[int], left: Sequence[int]) -> list[int]:
    """The number of orders that were pending at the end of each bucket.

    It is computed from `pending` (the orders that are pending now) and the numbers of orders that came and left in each
    bucket. It is never below 0, even if an order was deleted or left in a way that is not counted.
    """
    gained = [into - out for into, out in zip(came, left, strict=True)]
    after = list(accumulate(reversed(gained[1:]), initial=0))
    return [max(0, pending - since) for since in reversed(after)]


def count_delays(settled: Iterable[tuple[float, Source]]) -> Mapping[Source, Sequence[int]]:
    """How many orders took how long, by source (see `Plots.delays`). `settled` holds (seconds, source)."""
    counts: dict[Source, list[int]] = {}
    for seconds, source in settled:
        bars = counts.setdefault(source, [0] * (len(DELAY_LIMITS) + 1))
        bars[bisect_right(DELAY_LIMITS, seconds)] += 1
    return counts
