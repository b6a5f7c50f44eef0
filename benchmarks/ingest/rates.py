"""Orders and callbacks taken per second through the broker, by one real worker."""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
import sqlalchemy
from celery import Celery
from sqlalchemy.pool import NullPool

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.ingest import messages
from benchmarks.processes import celery, environment, wait_for_worker, wait_until

QUEUE = "reconciler.orders"
Message = tuple[str, object]
"""A task's name and its argument."""

_LISTS = 100
_SINGLES = 3_000
_RUNS = 5
_BOUND = "processors: the worker's processes, PostgreSQL and the broker share those of the machine"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What is sent, and how the database shows that it was taken."""

    messages: Callable[[str], Iterable[Message]]
    count: int
    """How many rows show it."""
    taken: str
    """SQL: rows with an id above `:after` that show it, for count(*) and the first moment."""
    moment: str
    """The column that holds the time read at the beginning of the row's transaction."""


def lists(bench: Bench, processes: int = 2) -> list[Figure]:
    """Orders by lists of 500."""
    kind = _Kind(
        messages=lambda tag: (
            ("reconciler.enqueue_orders", messages.orders(f"{tag}{number:03d}")) for number in range(_LISTS)
        ),
        count=_LISTS * messages.LIST,
        taken="recharge_orders WHERE id > :after",
        moment="created_at",
    )
    return [_figure(bench, kind, f"orders by lists of {messages.LIST}", "orders/s", 40_000, processes)]


def singles(bench: Bench, processes: int = 2) -> list[Figure]:
    """Orders one by one."""
    kind = _Kind(
        messages=lambda tag: (("reconciler.enqueue_order", messages.order(tag, number)) for number in range(_SINGLES)),
        count=_SINGLES,
        taken="recharge_orders WHERE id > :after",
        moment="created_at",
    )
    return [_figure(bench, kind, "orders one by one", "orders/s", 300, processes)]


def callbacks(bench: Bench, processes: int = 2) -> list[Figure]:
    """Callbacks by lists of 500, of orders that were enqueued just before."""
    kind = _Kind(
        messages=lambda tag: (
            ("reconciler.record_callbacks", messages.callbacks(f"{tag}{number:03d}")) for number in range(_LISTS)
        ),
        count=_LISTS * messages.LIST,
        taken="recharge_orders WHERE id > :after AND state = 'succeeded'",
        moment="settled_at",
    )
    what = f"callbacks by lists of {messages.LIST}"
    return [_figure(bench, kind, what, "callbacks/s", 15_000, processes, enqueued_before=True)]


def _figure(
    bench: Bench, kind: _Kind, what: str, unit: str, target: float, processes: int, *, enqueued_before: bool = False
) -> Figure:
    with _working(bench, processes) as testbed:
        # The first run opens connections and fills caches.
        rates = [testbed.rate(kind, enqueued_before=enqueued_before) for _ in range(1 + _RUNS)][1:]
    what = f"{what}, one worker with {processes} processes"
    return Figure(what=what, unit=unit, values=tuple(rates), target=target, more_is_better=True, bound_by=_BOUND)


@contextmanager
def _working(bench: Bench, processes: int) -> Iterator["_Testbed"]:
    url = bench.large_database
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    app = Celery(broker=bench.broker.url)
    with (
        celery("worker", "-c", str(processes), env=environment(url, bench.broker.url, log_level="INFO")) as worker,
        engine.connect() as connection,
        redis.Redis.from_url(bench.broker.url) as broker,
    ):
        wait_for_worker(app)
        yield _Testbed(worker.pid, app, connection, broker)


class _Testbed:
    """A worker at work, seen from its broker and its database."""

    def __init__(self, pid: int, app: Celery, connection: sqlalchemy.Connection, broker: redis.Redis) -> None:
        self._pid = pid
        self._app = app
        self._connection = connection
        self._broker = broker

    def rate(self, kind: _Kind, *, enqueued_before: bool) -> float:
        """Fill the queue while the worker does not consume it, then let it, and time that by the database's clock."""
        tag = secrets.token_hex(4)
        after = self._connection.scalar(sqlalchemy.text("SELECT coalesce(max(id), 0) FROM recharge_orders"))
        if enqueued_before:
            self._send(("reconciler.enqueue_orders", messages.orders(f"{tag}{number:03d}")) for number in range(_LISTS))
            wait_until(lambda: self._count("recharge_orders WHERE id > :after", after) == kind.count, "the orders")
        # Its main process alone takes messages.
        os.kill(self._pid, signal.SIGSTOP)
        self._send(kind.messages(tag))
        os.kill(self._pid, signal.SIGCONT)
        wait_until(lambda: self._is_done(kind, after), "the last one", poll=0.005)
        first = f"SELECT min({kind.moment}) FROM {kind.taken}"  # noqa: S608 - of our own constants
        statement = f"SELECT clock_timestamp() - ({first})"
        elapsed = self._connection.scalar(sqlalchemy.text(statement), {"after": after})
        if elapsed is None:
            raise RuntimeError("nothing was taken")
        time.sleep(0.5)
        return kind.count / float(elapsed.total_seconds())

    def _send(self, sent: Iterable[Message]) -> None:
        with self._app.connection_for_write() as connection, self._app.amqp.Producer(connection) as producer:
            for name, argument in sent:
                self._app.send_task(name, args=[argument], queue=QUEUE, producer=producer)

    def _is_done(self, kind: _Kind, after: object) -> bool:
        # A message is acknowledged once it is committed; both are empty while one moves from the queue to `unacked`.
        waiting = self._broker.llen(QUEUE) or self._broker.hlen("unacked")
        return not waiting and self._count(kind.taken, after) == kind.count

    def _count(self, taken: str, after: object) -> object:
        statement = f"SELECT count(*) FROM {taken}"  # noqa: S608 - of our own constants
        return self._connection.scalar(sqlalchemy.text(statement), {"after": after})
