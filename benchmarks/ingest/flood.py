"""The spacing of the queries that the platform sees, under a flood of orders and without one."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import redis
from celery import Celery

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.figures import Figure
from benchmarks.ingest import messages
from benchmarks.ingest.rates import QUEUE, Message
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
# While single orders wait in the queue.
_MOST_WINDOWS = 20


def spacing(bench: Bench, *, orders: int, singles: int, window: float, calm_windows: int) -> list[Figure]:
    """Watch some windows in calm, then as many as a flood of lists lasts, and one of single orders after it."""
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
            sent = (("orders in lists", _lists(orders), orders), ("single orders", _singles(singles), singles))
            floods = [_flood(bench.broker.url, *one, _MOST_WINDOWS * window) for one in sent if one[-1]]
        if simulator.record.violations():
            raise RuntimeError(f"the platform saw violations: {simulator.record.violations()}")
        arrivals = [arrival.monotonic for arrival in simulator.record.arrivals()]
    calm = [later - earlier for earlier, later in pairwise(arrivals) if later <= floods[0].began]
    without = Figure(what=f"spacing of queries, windows of {window:g} s", unit="s", values=tuple(calm))
    return [without, *(figure for one in floods for figure in _figures(one, arrivals, without.middle, window))]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flood:
    what: str
    sent: int
    taken: int
    began: float
    ended: float


def _figures(flood: _Flood, arrivals: list[float], calm: float, window: float) -> list[Figure]:
    flooded = [b - a for a, b in pairwise(arrivals) if flood.began <= b <= flood.ended]
    if not flooded:
        raise RuntimeError(
            f"{flood.what} took {flood.ended - flood.began:.1f} s: too short for a window of {window:g} s"
        )
    return [
        Figure(
            what=f"spacing of queries under a flood of {flood.sent:,} {flood.what}",
            unit="s",
            values=tuple(flooded),
            target=calm * 1.02,
            bound_by="the tick, a whole one of which may be missed; then the tasks that are just being run",
        ),
        Figure(
            what="  of the flood taken, its sender on the same machine",
            unit="orders/s",
            values=(flood.taken / (flood.ended - flood.began),),
        ),
    ]


def _lists(orders: int) -> Iterable[Message]:
    tag = secrets.token_hex(4)
    for number in range(-(-orders // messages.LIST)):
        yield "reconciler.enqueue_orders", messages.new_orders(f"{tag}{number:05d}")


def _singles(orders: int) -> Iterable[Message]:
    tag = secrets.token_hex(4)
    for number in range(orders):
        yield "reconciler.enqueue_order", messages.new_order(tag, number)


def _flood(broker_url: str, what: str, sent: Iterable[Message], orders: int, most_seconds: float) -> _Flood:
    """Send messages, and return once the last is taken, or after so many seconds."""
    app = Celery(broker=broker_url)
    began = time.monotonic()
    with (
        redis.Redis.from_url(broker_url) as broker,
        app.connection_for_write() as connection,
        app.amqp.Producer(connection) as producer,
    ):
        for name, argument in sent:
            while name == "reconciler.enqueue_orders" and broker.llen(QUEUE) > _LISTS_WAITING:
                time.sleep(0.02)
            app.send_task(name, args=[argument], queue=QUEUE, producer=producer)
        watched_until = time.monotonic() + most_seconds
        while (left := int(broker.llen(QUEUE))) and time.monotonic() < watched_until:
            time.sleep(0.02)
    return _Flood(what=what, sent=orders, taken=orders - left, began=began, ended=time.monotonic())


def _platform(window: float) -> Simulator:
    return Simulator(
        SimulatorConfig(
            accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
            window_seconds=window,
            delay=Delay.parse("fixed:0"),
            faults=Faults(latency=Delay.parse(f"fixed:{0.3 * window / _REAL_WINDOW}")),
        )
    )
