"""The spacing of the queries that the platform sees, under a flood of orders and without one."""

import secrets
import time
from itertools import pairwise

import redis
from celery import Celery

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.figures import Figure
from benchmarks.ingest import messages
from benchmarks.ingest.rates import QUEUE
from benchmarks.processes import celery, environment, wait_for_worker, wait_until
from worker.simulator.config import Account, SimulatorConfig
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.server import Simulator

_REAL_WINDOW = 60.0
_SMALLEST_SETTING = 0.05
SHORTEST_WINDOW = _REAL_WINDOW * _SMALLEST_SETTING
"""Seconds: with a shorter one its tick could not be set."""
_BACKLOG = 20_000
# In the queue: more than the worker can hold at once, and little enough for the memory of Redis.
_LISTS_WAITING = 200


def spacing(bench: Bench, *, orders: int, window: float, calm_windows: int) -> list[Figure]:
    """Watch some windows in calm, then as many as the flood lasts."""
    with tables.database(bench.postgres.url, orders=_BACKLOG, pending_one_in=2) as url, _platform(window) as simulator:
        simulator.register(NewOrder(request_id=name, amount="2.94") for name in tables.request_ids(url))
        scale = window / _REAL_WINDOW
        env = environment(
            url,
            bench.broker.url,
            platform_url=simulator.url,
            query_window_seconds=window,
            # Below it the worker refuses to start.
            query_margin_seconds=max(_SMALLEST_SETTING, 0.5 * scale),
            request_deadline_seconds=30 * scale,
            tick_seconds=scale,
        )
        with celery("worker", "-c", "2", env=env), celery("beat", env=env):
            wait_for_worker(Celery(broker=bench.broker.url))
            seconds = (calm_windows + 4) * (window + 2)
            wait_until(lambda: len(simulator.record.arrivals()) > calm_windows, "the calm queries", seconds=seconds)
            began = time.monotonic()
            _flood(bench.broker.url, orders)
            ended = time.monotonic()
        if simulator.record.violations():
            raise RuntimeError(f"the platform saw violations: {simulator.record.violations()}")
        arrivals = [arrival.monotonic for arrival in simulator.record.arrivals()]
    calm = [later - earlier for earlier, later in pairwise(arrivals) if later <= began]
    flooded = [later - earlier for earlier, later in pairwise(arrivals) if began <= later <= ended and earlier <= ended]
    return _figures(calm, flooded, window, orders, ended - began)


def _figures(calm: list[float], flooded: list[float], window: float, orders: int, seconds: float) -> list[Figure]:
    if not calm or not flooded:
        raise RuntimeError(f"the flood took {seconds:.1f} s: too short for a window of {window:g} s")
    without = Figure(what=f"spacing of queries, windows of {window:g} s", unit="s", values=tuple(calm))
    return [
        without,
        Figure(
            what=f"spacing of queries under a flood of {orders:,} orders",
            unit="s",
            values=tuple(flooded),
            target=without.middle * 1.02,
            bound_by="the tick, a whole one of which may be missed; then the tasks that are just being run",
        ),
        Figure(
            what="  orders of the flood taken, its sender on the same machine",
            unit="orders/s",
            values=(orders / seconds,),
        ),
    ]


def _flood(broker_url: str, orders: int) -> None:
    """Send lists as fast as they are taken, and return once the last is."""
    tag = secrets.token_hex(4)
    app = Celery(broker=broker_url)
    with (
        redis.Redis.from_url(broker_url) as broker,
        app.connection_for_write() as connection,
        app.amqp.Producer(connection) as producer,
    ):
        for number in range(-(-orders // messages.LIST)):
            while broker.llen(QUEUE) > _LISTS_WAITING:
                time.sleep(0.02)
            sent = messages.new_orders(f"{tag}{number:05d}")
            app.send_task("reconciler.enqueue_orders", args=[sent], queue=QUEUE, producer=producer)
        wait_until(lambda: not broker.llen(QUEUE), "the end of the flood", poll=0.02)


def _platform(window: float) -> Simulator:
    return Simulator(
        SimulatorConfig(
            accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
            window_seconds=window,
            delay=Delay.parse("fixed:0"),
            faults=Faults(latency=Delay.parse(f"fixed:{0.3 * window / _REAL_WINDOW}")),
        )
    )
