"""A real worker and beat at a simulated platform with every duration scaled: the queries that the platform saw."""

import time

from celery import Celery

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.processes import celery, environment, wait_for_worker, wait_until
from worker.simulator.config import Account, SimulatorConfig
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.record import Arrival
from worker.simulator.server import Simulator


def watch_queries(bench: Bench, database_url: str, *, scale: float, queries: int, **settings: str) -> list[Arrival]:
    """The arrivals of more than so many queries, which poll the pending orders of a database.

    A window of 60 s, a margin of 0.5 s, a deadline of 30 s, a tick of 1 s and a latency of 0.3 s are all multiplied by
    `scale`. `settings` are further ones of the worker. Raises RuntimeError where the platform saw the limit broken.
    """
    window = 60 * scale
    with Simulator(_platform(scale)) as simulator:
        simulator.register(NewOrder(request_id=name, amount="2.94") for name in tables.request_ids(database_url))
        env = environment(
            database_url,
            bench.broker.url,
            platform_url=simulator.url,
            query_window_seconds=window,
            query_margin_seconds=0.5 * scale,
            request_deadline_seconds=30 * scale,
            tick_seconds=1 * scale,
            **settings,
        )
        with celery("worker", "-c", "2", env=env), celery("beat", env=env):
            wait_for_worker(Celery(broker=bench.broker.url))
            seconds = (queries + 4) * (window + 2)
            wait_until(lambda: len(simulator.record.arrivals()) > queries, "the last query", seconds=seconds)
            time.sleep(0.5)
        if simulator.record.violations():
            raise RuntimeError(f"the platform saw violations: {simulator.record.violations()}")
        return simulator.record.arrivals()


def _platform(scale: float) -> SimulatorConfig:
    return SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=60 * scale,
        delay=Delay.parse("fixed:0"),
        faults=Faults(latency=Delay.parse(f"fixed:{0.3 * scale}")),
    )
