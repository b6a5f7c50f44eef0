"""The write-back of an answer that settles 100 orders: with a notification of each, and without any.

Both kinds take turns on one database, so that a disk or a neighbour that becomes slow is slow for both.
"""

import json
import time
from collections.abc import Sequence
from statistics import median

import sqlalchemy

from benchmarks import tables
from benchmarks.bench import APP_ID, Bench, settings
from benchmarks.figures import Figure, milliseconds
from worker.adapters.clock import HostClock
from worker.database.transactions import Database
from worker.domain.records.notifications import EndpointSettings, Webhook
from worker.domain.wire.replies import read_answer
from worker.operations.change_endpoints import enter_endpoints
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.settings.rules import rules_of, slots_of

_ORDERS = 100_000
"""A tenth of them is pending, and each pass settles 100."""
_BATCH = 100
_WARM_UP = 5
_RUNS = 40
_OPEN_SLOT = "UPDATE query_budgets SET boot_due_us = 0, due_at = clock_timestamp()"
_ENDPOINT = EndpointSettings(
    account="default", target=Webhook(url="https://billing.example.com/hook", secrets=("whsec_" + "A" * 32,))
)


def run(bench: Bench) -> list[Figure]:
    """Time write-backs that settle every order of a batch, with and without an endpoint in turn."""
    with tables.database(bench.postgres.url, orders=_ORDERS) as url:
        told, untold = _measure(url)
    ratio = median(told) / median(untold)
    return [
        Figure(
            what="write-back of 100 orders with notifications, against without",
            unit="times",
            values=(ratio,),
            target=1.3,
            bound_by="100 rows more in one statement, and their indexes",
        ),
        Figure(what="  with a notification of each", unit="ms", values=milliseconds(told)),
        Figure(what="  without an endpoint", unit="ms", values=milliseconds(untold)),
    ]


def _measure(database_url: str) -> tuple[list[float], list[float]]:
    """Seconds of each write-back: with notifications, and without."""
    chosen = settings(database_url)
    rules, clock, database = rules_of(chosen), HostClock(), Database(database_url)
    grants, write_back = Grants(database, clock, rules), WriteBack(database, clock, rules)
    (slot,) = slots_of(chosen)

    def one_write_back() -> float:
        _run(database, _OPEN_SLOT)
        query = grants.take(slot)
        if query is None or len(query.orders) != _BATCH:
            raise RuntimeError(f"the pass did not poll {_BATCH} orders: {query}")
        answer = read_answer(_body(query.ids), "application/json;charset=utf-8", query.id_kind, query.ids)
        begun = time.perf_counter()
        effects = write_back.answered(query, answer)
        taken = time.perf_counter() - begun
        if effects.settled != _BATCH:
            raise RuntimeError(f"{effects.settled} of {_BATCH} orders were settled")
        return taken

    told, untold = [], []
    try:
        SlotMaintenance(database, clock, rules).prepare([slot])
        for _ in range(_WARM_UP + _RUNS):
            enter_endpoints(database, [_ENDPOINT])
            told.append(one_write_back())
            _run(database, "DELETE FROM notify_endpoints")
            untold.append(one_write_back())
        _check(database)
    finally:
        database.close()
    return told[_WARM_UP:], untold[_WARM_UP:]


def _check(database: Database) -> None:
    with database.read() as connection:
        written = connection.scalar(sqlalchemy.text("SELECT count(*) FROM notifications"))
    if written != _BATCH * (_WARM_UP + _RUNS):
        raise RuntimeError(f"{written} notifications were written")


def _run(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.execute(sqlalchemy.text(statement))


def _body(ids: Sequence[str]) -> bytes:
    said = {"appid": APP_ID, "trafficSts": "1", "remark": "充值成功", "oriAmount": "2.94"}
    return json.dumps([{"requestId": name, **said} for name in ids]).encode()
