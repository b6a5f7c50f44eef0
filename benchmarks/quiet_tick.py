"""A tick that may not query: what every worker does nearly every second."""

import time

from benchmarks.bench import Bench, settings
from benchmarks.figures import Figure, milliseconds
from worker.process.runtime import Runtime

_WARM_UP = 100
_RUNS = 1000


def run(bench: Bench) -> list[Figure]:
    """Time the tick itself, as a worker process makes it: it reads the slots and some of the kept callbacks."""
    # A slot that is seen for the first time starts with a reservation of 90 s: no tick here may query.
    runtime = Runtime(settings(bench.large_database, tick_seconds=20))
    try:
        for _ in range(_WARM_UP):
            runtime.ticks.tick()
        seconds = [_timed(runtime) for _ in range(_RUNS)]
    finally:
        runtime.close()
    return [
        Figure(
            what="a tick that may not query, 1,000,000 orders",
            unit="ms",
            values=milliseconds(seconds),
            target=3,
            bound_by="round trips to PostgreSQL: two short reads, with BEGIN, ping and ROLLBACK around each",
        )
    ]


def _timed(runtime: Runtime) -> float:
    start = time.perf_counter()
    runtime.ticks.tick()
    return time.perf_counter() - start
