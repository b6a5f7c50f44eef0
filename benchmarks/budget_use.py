"""Use of the budget under backlog: ids polled, over 100 in every window, by a real worker and beat."""

import time
from itertools import pairwise

from celery import Celery

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.figures import Figure
from benchmarks.processes import celery, environment, wait_for_worker, wait_until
from worker.simulator import Account, Delay, Faults, NewOrder, Simulator, SimulatorConfig

# Every duration is a fifth of the real one. Our own work does not scale with them, so the real use is a little better.
_SCALE = 0.2
_WINDOW = 60 * _SCALE
_WINDOWS = 8
_BATCH = 100


def run(bench: Bench) -> list[Figure]:
    """Watch some windows at the platform: how far apart the queries arrive, and how many ids each holds."""
    with (
        tables.database(bench.postgres.url, orders=20_000) as database_url,
        Simulator(_platform()) as simulator,
    ):
        simulator.register(NewOrder(request_id=name, amount="2.94") for name in tables.request_ids(database_url))
        env = environment(
            database_url,
            bench.broker.url,
            platform_url=simulator.url,
            query_window_seconds=_WINDOW,
            query_margin_seconds=0.5 * _SCALE,
            request_deadline_seconds=30 * _SCALE,
            tick_seconds=1 * _SCALE,
        )
        with celery("worker", "-c", "2", env=env), celery("beat", env=env):
            wait_for_worker(Celery(broker=bench.broker.url))
            seconds = (_WINDOWS + 4) * (_WINDOW + 2)
            wait_until(lambda: len(simulator.record.arrivals()) > _WINDOWS, "the last query", seconds=seconds)
            time.sleep(0.5)
        arrivals = simulator.record.arrivals()
        if simulator.record.violations():
            raise RuntimeError(f"the platform saw violations: {simulator.record.violations()}")
    used = [
        100 * earlier.id_count / _BATCH * _WINDOW / (later.monotonic - earlier.monotonic)
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


def _platform() -> SimulatorConfig:
    return SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=_WINDOW,
        delay=Delay.parse("fixed:0"),
        faults=Faults(latency=Delay.parse(f"fixed:{0.3 * _SCALE}")),
    )
