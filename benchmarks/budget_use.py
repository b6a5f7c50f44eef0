"""Use of the budget under backlog: ids polled, over 100 in every window, by a real worker and beat."""

from itertools import pairwise

from benchmarks import tables
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.watched_platform import watch_queries

# Every duration is a fifth of the real one. Our own work does not scale with them, so the real use is a little better.
_SCALE = 0.2
_WINDOW = 60 * _SCALE
_WINDOWS = 8
_BATCH = 100


def run(bench: Bench) -> list[Figure]:
    """Watch some windows at the platform: how far apart the queries arrive, and how many ids each holds."""
    with tables.database(bench.postgres.url, orders=20_000) as database_url:
        arrivals = watch_queries(bench, database_url, scale=_SCALE, queries=_WINDOWS)
    used = [
        100 * len(earlier.ids) / _BATCH * _WINDOW / (later.monotonic - earlier.monotonic)
        for earlier, later in pairwise(arrivals)
    ]
    return [
        Figure(
            what=f"use of the budget under backlog, windows of {_WINDOW:g} s, all scaled alike",
            unit="%",
            values=tuple(used),
            target=97,
            more_is_better=True,
            bound_by="the margin, the latency, and the tick: a slot is used at the first tick after it opens",
        )
    ]
