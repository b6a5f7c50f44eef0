"""The spacing of queries at the platform, while many notifications wait for an endpoint that hangs, and without."""

import time
from itertools import pairwise
from statistics import median

from celery import Celery

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.figures import Figure
from benchmarks.notify.receiver import SECRET, receiver
from benchmarks.notify.rows import Rows
from benchmarks.processes import celery, environment, wait_for_worker, wait_until
from worker.simulator import Account, Delay, Faults, NewOrder, Simulator, SimulatorConfig

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
    with Simulator(_platform()) as simulator:
        simulator.register(NewOrder(request_id=name, amount="2.94") for name in tables.request_ids(url))
        env = environment(
            url,
            bench.broker.url,
            platform_url=simulator.url,
            query_window_seconds=_WINDOW,
            query_margin_seconds=0.5 * _SCALE,
            request_deadline_seconds=30 * _SCALE,
            tick_seconds=1 * _SCALE,
            **notify,
        )
        with celery("worker", "-c", "2", env=env), celery("beat", env=env):
            wait_for_worker(Celery(broker=bench.broker.url))
            seconds = (windows + 4) * (_WINDOW + 2)
            wait_until(lambda: len(simulator.record.arrivals()) > windows + 1, "the last query", seconds=seconds)
            time.sleep(0.5)
        if simulator.record.violations():
            raise RuntimeError(f"the platform saw violations: {simulator.record.violations()}")
        # The first spacing is that of the start.
        times = [arrival.monotonic for arrival in simulator.record.arrivals()][1:]
    return tuple(later - earlier for earlier, later in pairwise(times))


def _platform() -> SimulatorConfig:
    return SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=_WINDOW,
        delay=Delay.parse("fixed:0"),
        faults=Faults(latency=Delay.parse(f"fixed:{0.3 * _SCALE}")),
    )
