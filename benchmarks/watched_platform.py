"""A real worker and beat at a simulated platform with every duration scaled: the queries that the platform saw."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.processes import celery, environment, wait_for_worker, wait_until
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.record import Arrival
from worker.simulator.server import Simulator


@contextmanager
def watched_platform(bench: Bench, database_url: str, *, scale: float, **settings: str) -> Iterator[Simulator]:
    """The platform, while a worker polls the pending orders of a database.

    A window of 60 s, a margin of 0.5 s, a deadline of 30 s, a tick of 1 s and a latency of 0.3 s are all multiplied by
    `scale`. `settings` are further ones of the worker. Raises RuntimeError if the platform saw the limit broken.
    """
    with Simulator(_platform(scale)) as simulator:
        simulator.register(NewOrder(request_id=name, amount="2.94") for name in tables.request_ids(database_url))
        env = environment(
            database_url,
            bench.broker.url,
            platform_url=simulator.url,
            query_window_seconds=60 * scale,
            query_margin_seconds=0.5 * scale,
            request_deadline_seconds=30 * scale,
            tick_seconds=1 * scale,
            **settings,
        )
        with celery("worker", "-c", "2", env=env), celery("beat", env=env):
            wait_for_worker(Celery(broker=bench.broker.url))
            yield simulator
        if simulator.record.violations():
            raise RuntimeError(f"the platform saw violations: {simulator.record.violations()}")


def watch_queries(bench: Bench, database_url: str, *, scale: float, queries: int, **settings: str) -> list[Arrival]:
    """The arrivals of more than `queries` queries at such a platform."""
    with watched_platform(bench, database_url, scale=scale, **settings) as simulator:
        wait_for_queries(simulator, queries, scale=scale)
        time.sleep(0.5)
    return simulator.record.arrivals()


def wait_for_queries(simulator: Simulator, queries: int, *, scale: float) -> None:
    """Wait until more than `queries` queries have arrived."""
    seconds = (queries + 4) * (60 * scale + 2)
    wait_until(lambda: len(simulator.record.arrivals()) > queries, f"query {queries + 1}", seconds=seconds)


def _platform(scale: float) -> SimulatorConfig:
    return SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=60 * scale,
        delay=Delay.parse("fixed:0"),
        faults=Faults(latency=Delay.parse(f"fixed:{0.3 * scale}")),
    )
