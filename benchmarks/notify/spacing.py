"""The spacing of queries at the platform, while many notifications wait for an endpoint that hangs, and without."""

from itertools import pairwise
from statistics import median

from benchmarks import tables
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.notify.receiver import SECRET, receiver
from benchmarks.notify.rows import Rows
from benchmarks.watched_platform import watch_queries

# Every duration is a tenth of the real one. Our own work does not scale with them.
_SCALE = 0.1
_WINDOW = 60 * _SCALE


def run(bench: Bench, *, waiting: int, windows: int) -> list[Figure]:
    """Watch some windows without a notification, then as many while these wait."""
    with tables.database(bench.postgres.url, orders=200 * windows * 30) as url, receiver("hang") as hook:
        calm = _spacings(bench, url, windows)
        Rows(url).add(waiting)
        busy = _spacings(bench, url, windows, notify_url=hook, notify_secret=SECRET)
    return [
        Figure(
            what=f"spacing of queries while {waiting:,} notifications wait for an endpoint that hangs, against without",
            unit="times",
            values=(median(busy) / median(calm),),
            target=1.02,
            bound_by="the tick: a slot is used at the first tick after it opens",
        ),
        Figure(what=f"  while they wait, windows of {_WINDOW:g} s", unit="s", values=busy),
        Figure(what="  without", unit="s", values=calm),
    ]


def _spacings(bench: Bench, url: str, windows: int, **notify: str) -> tuple[float, ...]:
    arrivals = watch_queries(bench, url, scale=_SCALE, queries=windows + 1, **notify)
    # The first spacing is that of the start.
    times = [arrival.monotonic for arrival in arrivals][1:]
    return tuple(later - earlier for earlier, later in pairwise(times))
