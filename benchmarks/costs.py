"""What a deployment costs: the memory of its four programs, idle and after work, and the disk that an order takes."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
import sqlalchemy
from celery import Celery
from sqlalchemy.pool import NullPool

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.figures import Figure
from benchmarks.ingest import messages
from benchmarks.notify import callbacks
from benchmarks.notify.receiver import SECRET, receiver
from benchmarks.processes import celery, environment, proportional_megabytes, serve, wait_for_worker, wait_until
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator

_TARGET = 400
_IDLE_SECONDS = 15
_WINDOW, _SLOTS = 0.2, 4
# Lists of 500 orders: no callback comes for those that are polled.
_POLLED = tuple(f"1{number:02d}" for number in range(5))
_CALLED_BACK = tuple(f"2{number:02d}" for number in range(5))
_ORDERS = messages.LIST * (len(_POLLED) + len(_CALLED_BACK))
_PAGES = (
    "/",
    "/overview/now",
    "/overview/plots",
    "/attention",
    "/orders",
    "/queries",
    "/notifications",
    "/rejected",
    "/metrics",
)
_ROUNDS = 10
_SIGN_IN = re.compile(r"/sign-in\?key=\S+")
_TABLES = ("recharge_orders", "order_events", "notifications", "platform_queries")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Programs:
    """The four programs: their processes by name, and where the two that serve answer."""

    processes: Mapping[str, int]
    callbacks_url: str
    console_url: str
    sign_in_path: str

    def megabytes(self) -> dict[str, float]:
        """The memory of each, with all of its processes."""
        return {name: proportional_megabytes(pid) for name, pid in self.processes.items()}


def run(bench: Bench) -> list[Figure]:
    """Measure the programs at rest, then after work of every kind, and what that left in the database."""
    with (
        tables.database(bench.postgres.url, orders=0) as database_url,
        Simulator(_platform()) as simulator,
        receiver("0.02") as hook,
    ):
        simulator.register(NewOrder(request_id=name, amount="2.94") for name in _request_ids(_POLLED))
        env = environment(
            database_url,
            bench.broker.url,
            platform_url=simulator.url,
            query_window_seconds=_WINDOW,
            queries_per_window=_SLOTS,
            query_margin_seconds=0.05,
            request_deadline_seconds=5,
            callback_token=callbacks.TOKEN,
            notify_url=hook,
            notify_secret=SECRET,
        )
        sender = _Sender(bench.broker.url)
        with _programs(env) as programs:
            wait_for_worker(sender.app)
            time.sleep(_IDLE_SECONDS)
            idle = programs.megabytes()
            _work(sender, programs, database_url)
            worked = programs.megabytes()
        return [*_memory("idle", idle), *_memory("after work of every kind", worked), *_disk(database_url)]


@contextmanager
def _programs(env: Mapping[str, str]) -> Iterator[_Programs]:
    with (
        celery("worker", "-c", "2", env=env) as worker,
        celery("beat", env=env) as beat,
        serve("--only", "callbacks", env=env) as (receiving, callbacks_url),
        serve("--only", "operate", env=env) as (operating, console_url),
    ):
        processes = {
            "worker with 2 processes": worker.pid,
            "beat": beat.pid,
            "serve --only callbacks": receiving.pid,
            "serve --only operate": operating.pid,
        }
        wait_until(lambda: _SIGN_IN.search(operating.output), "the address of the console")
        (path,) = _SIGN_IN.findall(operating.output)
        yield _Programs(processes=processes, callbacks_url=callbacks_url, console_url=console_url, sign_in_path=path)


class _Sender:
    """Sends tasks as a billing system does."""

    def __init__(self, broker_url: str) -> None:
        self.app = Celery(broker=broker_url)

    def send(self, task: str, lists: Iterable[object]) -> None:
        """Send a task for each list."""
        with self.app.connection_for_write() as connection, self.app.amqp.Producer(connection) as producer:
            for argument in lists:
                self.app.send_task(task, args=[argument], queue="reconciler.orders", producer=producer)


def _work(sender: _Sender, programs: _Programs, database_url: str) -> None:
    """Orders, callbacks by both ways, and looks at the console, until each order is settled and notified of."""
    sender.send("reconciler.enqueue_orders", (*map(_due_orders, _POLLED), *map(messages.new_orders, _CALLED_BACK)))
    _wait_for(database_url, "count(*) FROM recharge_orders", _ORDERS)
    over_http, *by_lists = _CALLED_BACK
    callbacks.send(programs.callbacks_url, _request_ids([over_http]))
    sender.send("reconciler.record_callbacks", map(messages.callbacks, by_lists))
    with requests.Session() as browser:
        browser.get(programs.console_url + programs.sign_in_path, timeout=60).raise_for_status()
        for page in _PAGES * _ROUNDS:
            browser.get(programs.console_url + page, timeout=60).raise_for_status()
    _wait_for(database_url, "count(delivered_at) FROM notifications", _ORDERS)


def _due_orders(tag: str) -> list[dict[str, str]]:
    """Orders whose grace has just ended."""
    submitted = datetime.now(UTC) - timedelta(minutes=15)
    return [{**order, "submitted_at": submitted.isoformat()} for order in messages.new_orders(tag)]


def _request_ids(tags: Iterable[str]) -> list[str]:
    return [messages.names(tag, number)["request_id"] for tag in tags for number in range(messages.LIST)]


def _wait_for(database_url: str, what: str, count: int) -> None:
    wait_until(lambda: _row(database_url, f"SELECT {what}")[0] >= count, what, seconds=600)


def _memory(when: str, megabytes: Mapping[str, float]) -> Iterator[Figure]:
    yield Figure(
        what=f"memory of all four programs, {when} (PSS)",
        unit="MB",
        values=(sum(megabytes.values()),),
        target=_TARGET,
        bound_by="the libraries that each program imports, and what its processes cannot share",
    )
    for program, value in megabytes.items():
        yield Figure(what=f"  {program}", unit="MB", values=(value,))


def _disk(database_url: str) -> Iterator[Figure]:
    engine = sqlalchemy.create_engine(database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        sizes = {
            table: connection.exec_driver_sql(
                f"SELECT (SELECT count(*) FROM {table}), pg_table_size('{table}'), pg_indexes_size('{table}')"  # noqa: S608 - of our own constants
            ).one()
            for table in _TABLES
        }
    total = sum(data + indexes for _, data, indexes in sizes.values())
    yield Figure(what="disk for an order, with all that is written about it", unit="bytes", values=(total / _ORDERS,))
    for table, (rows, data, indexes) in sizes.items():
        yield Figure(what=f"  {table}: rows", unit="per order", values=(rows / _ORDERS,))
        yield Figure(what="    a row", unit="bytes", values=(data / rows,))
        yield Figure(what="    its entries in indexes", unit="bytes", values=(indexes / rows,))


def _row(database_url: str, statement: str) -> Any:
    engine = sqlalchemy.create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(statement).one()


def _platform() -> SimulatorConfig:
    return SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=_WINDOW,
        queries_per_window=_SLOTS,
        delay=Delay.parse("fixed:0"),
        # So that each order is settled by its first query.
        failed_share=0,
    )
