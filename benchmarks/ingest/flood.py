"""The spacing of the queries that the platform sees, under a flood of orders and without one."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import redis
from celery import Celery

from benchmarks import tables
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.ingest import messages
from benchmarks.ingest.rates import QUEUE, Message
from benchmarks.watched_platform import wait_for_queries, watched_platform

# Every duration is a tenth of the real one. Our own work does not scale with them.
_SCALE = 0.1
_WINDOW = 60 * _SCALE
_BACKLOG = 20_000
# In the queue: more than the worker can hold at once, and little enough for the memory of Redis.
_LISTS_WAITING = 200
# While single orders wait in the queue.
_MOST_WINDOWS = 20


def spacing(bench: Bench, *, orders: int, singles: int, calm_windows: int) -> list[Figure]:
    """Watch some windows in calm, then as many as a flood of lists lasts, and one of single orders after it."""
    with (
        tables.database(bench.postgres.url, orders=_BACKLOG, pending_one_in=2) as url,
        watched_platform(bench, url, scale=_SCALE) as simulator,
    ):
        wait_for_queries(simulator, calm_windows, scale=_SCALE)
        sent = (("orders in lists", _lists(orders), orders), ("single orders", _singles(singles), singles))
        floods = [_flood(bench.broker.url, *one, _MOST_WINDOWS * _WINDOW) for one in sent if one[-1]]
    arrivals = [arrival.monotonic for arrival in simulator.record.arrivals()]
    calm = [later - earlier for earlier, later in pairwise(arrivals) if later <= floods[0].began]
    without = Figure(what=f"spacing of queries, windows of {_WINDOW:g} s", unit="s", values=tuple(calm))
    return [without, *(figure for one in floods for figure in _figures(one, arrivals, without.middle))]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flood:
    what: str
    sent: int
    taken: int
    began: float
    ended: float


def _figures(flood: _Flood, arrivals: list[float], calm: float) -> list[Figure]:
    flooded = [b - a for a, b in pairwise(arrivals) if flood.began <= b <= flood.ended]
    if not flooded:
        raise RuntimeError(
            f"{flood.what} took {flood.ended - flood.began:.1f} s: too short for a window of {_WINDOW:g} s"
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
