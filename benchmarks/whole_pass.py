"""A whole pass, without the time that the platform takes to answer."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy

from benchmarks.bench import APP_ID, Bench, settings
from benchmarks.figures import Figure, milliseconds
from worker.adapters.clock import HostClock
from worker.adapters.platform.client import PlatformClient
from worker.database.transactions import Database
from worker.domain.records.incoming import Answer
from worker.domain.records.orders import IdKind
from worker.domain.wire.query_request import Credentials
from worker.domain.wire.replies import read_answer
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.process.intake import Intake
from worker.process.reconcile import Reconciler
from worker.settings.rules import app_ids_of, rules_of, slots_of

_WARM_UP = 10
_RUNS = 60
_BATCH = 100
_OPEN_SLOT = "UPDATE query_budgets SET boot_due_us = 0, due_at = clock_timestamp()"


@dataclass(kw_only=True, slots=True)
class _Moments:
    """When the parts of a pass began, in seconds of the performance counter."""

    begun: float = 0.0
    granted: float = 0.0
    answered: float = 0.0
    read: float = 0.0
    ended: float = 0.0

    @property
    def grant(self) -> float:
        return self.granted - self.begun

    @property
    def reading(self) -> float:
        return self.read - self.answered

    @property
    def write_back(self) -> float:
        return self.ended - self.read

    @property
    def whole(self) -> float:
        return self.grant + self.reading + self.write_back


class _InstantPlatform(PlatformClient):
    """Answers at once: of ten orders two are still recharging, and one has failed. The answer is parsed as usual."""

    moments: _Moments

    def query(self, *, credentials: Credentials, id_kind: IdKind, ids: Sequence[str], started: float) -> Answer:
        """As PlatformClient, without a socket."""
        self.moments.granted = time.perf_counter()
        body = json.dumps([_item(name, number) for number, name in enumerate(ids)]).encode()
        self.moments.answered = time.perf_counter()
        answer = read_answer(body, "application/json;charset=utf-8", id_kind, ids)
        self.moments.read = time.perf_counter()
        return answer


def run(bench: Bench) -> list[Figure]:
    """Time passes over one slot, which is opened before each, and the parts of each pass."""
    moments = _measure(bench.large_database)
    parts = {
        "  the grant": [one.grant for one in moments],
        "  reading the answer": [one.reading for one in moments],
        "  the write-back": [one.write_back for one in moments],
    }
    whole = Figure(
        what="a whole pass without the platform's time, 100 orders, 1,000,000 in the table",
        unit="ms",
        values=milliseconds([one.whole for one in moments]),
        target=40,
        bound_by="our own work on 100 orders; then round trips, and two commits that reach the disk",
    )
    return [whole, *(Figure(what=what, unit="ms", values=milliseconds(values)) for what, values in parts.items())]


def _measure(database_url: str) -> list[_Moments]:
    chosen = settings(database_url)
    rules, clock, database = rules_of(chosen), HostClock(), Database(database_url)
    grants = Grants(database, clock, rules)
    client = _InstantPlatform(
        base_url=chosen.platform_url,
        version=chosen.platform_version,
        bracketed_ids=False,
        timezone=chosen.platform_zone,
        connect_timeout=5,
        deadline=rules.deadline_seconds,
        clock=clock,
    )
    reconciler = Reconciler(
        grants=grants,
        client=client,
        write_back=WriteBack(database, clock, rules),
        clock=clock,
        credentials=chosen.accounts,
        match_callbacks=Intake(database, rules, app_ids_of(chosen)).match_callbacks,
    )
    (slot,) = slots_of(chosen)

    def one_pass() -> _Moments:
        with database.write() as connection:
            connection.execute(sqlalchemy.text(_OPEN_SLOT))
        client.moments = _Moments(begun=time.perf_counter())
        query = reconciler.reconcile(slot)
        client.moments.ended = time.perf_counter()
        if query is None or len(query.orders) != _BATCH:
            raise RuntimeError(f"the pass did not poll {_BATCH} orders: {query}")
        return client.moments

    try:
        SlotMaintenance(database, clock, rules).prepare([slot])
        return [one_pass() for _ in range(_WARM_UP + _RUNS)][_WARM_UP:]
    finally:
        database.close()


def _item(name: str, number: int) -> dict[str, str]:
    status = {0: "0", 1: "0", 2: "-1"}.get(number % 10, "1")
    amount = "0.00" if status == "-1" else "2.94"
    return {"requestId": name, "appid": APP_ID, "trafficSts": status, "remark": "成功", "oriAmount": amount}
