"""What the plots of the overview show: figures of the last 24 hours.

In which bucket each row falls, and what follows from the counts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from worker.domain.records.orders import Source

DELAY_LIMITS = (60, 120, 300, 600, 1_800, 3_600, 21_600, 86_400)
"""Seconds: the upper ends of the bars of delays; the last bar has none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LASTS = timedelta(hours=24)
BUCKET = timedelta(minutes=30)
"""The length of each of the equal parts that the figures are counted in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plots:
    """All that is plotted, at `now` by the database's clock. Each sequence of figures has a figure for each bucket."""

    now: datetime
    starts: Sequence[datetime]
    """When each bucket begins; the last one is not over yet."""
    submitted: Sequence[int]
    succeeded: Sequence[int]
    failed: Sequence[int]
    pending: int
    """Now."""
    due: int
    """Now."""
    backlog: Sequence[int]
    """Pending orders at the end of each bucket; the last figure is that of now."""
    delays: Mapping[Source, Sequence[int]]
    """By source, how many of the last settled orders took how long: a figure for each of `DELAY_LIMITS`,
    and one more for those that took longer."""


def bucket_starts(now: datetime) -> list[datetime]:
    """When each bucket begins, on even half-hours; the last one holds `now`."""
    last = now - (now - _EPOCH) % BUCKET
    return [last - BUCKET * before for before in range(_LASTS // BUCKET - 1, -1, -1)]


def count_times(starts: Sequence[datetime], times: Iterable[tuple[datetime, int]]) -> list[int]:
    """For each bucket the sum of what is given with times in it. What lies before the first bucket is left out; what
    lies ahead of the last one, as after a clock was set back, counts in it."""
    counts = [0] * len(starts)
    for time, number in times:
        bucket = bisect_right(starts, time) - 1
        if bucket >= 0:
            counts[bucket] += number
    return counts


def backlog(pending: int, came: Sequence[int], left: Sequence[int]) -> list[int]:
    """How many orders were pending at the end of each bucket, from how many are now, and came and left in each.

    Never below 0: an order that was deleted, or left in a way that is not counted, would make it so.
    """
    gained = [into - out for into, out in zip(came, left, strict=True)]
    after = list(accumulate(reversed(gained[1:]), initial=0))
    return [max(0, pending - since) for since in reversed(after)]


def count_delays(settled: Iterable[tuple[float, Source]]) -> Mapping[Source, Sequence[int]]:
    """By source, how many orders took up to each of `DELAY_LIMITS`, and longer. `settled`: seconds and source."""
    counts: dict[Source, list[int]] = {}
    for seconds, source in settled:
        bars = counts.setdefault(source, [0] * (len(DELAY_LIMITS) + 1))
        bars[bisect_right(DELAY_LIMITS, seconds)] += 1
    return counts
