"""The product, and the broken variants of it that the checker must catch: a checker that cannot fail proves nothing.

Each breaks one mechanism, as an easier design would have it:

- `redis-budget`: the budget is a Redis key, `SET NX PX`, which a flush forgets;
- `waits-for-the-row`: a grant waits for the budget's row with both clocks read before the wait, and its deadline starts
  after it; `waits-by-database-clock`: the same with the database's clock alone, which decides between two hosts;
- `no-guard`: the write-back writes the answer, whatever happened to the order meanwhile;
- `send-to-send`: a window is counted from one send to the next, whenever the platform may see them.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any

import redis
from sqlalchemy import Connection, text

from tests.faults.parts import (
    PointedDatabase,
    PointedGrants,
    PointedMaintenance,
    PointedWriteBack,
    SteppedClock,
    simulated_host,
)
from tests.faults.points import doing
from worker.adapters.clock import Clock
from worker.adapters.platform.client import PlatformClient
from worker.database.transactions import Database
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.accounts import Opening, Rules, SlotKey
from worker.domain.records.incoming import Answer
from worker.domain.records.queries import Query
from worker.operations.reserve_slot import Grants
from worker.operations.write_heartbeat import Peers
from worker.process.runtime import Parts


class RedisBudget(PointedGrants):
    """Reads from Redis whether a query may be sent."""

    def __init__(self, database: Database, clock: Clock, rules: Rules) -> None:
        super().__init__(database, clock, rules)
        self._its_database = database
        self._spacing_ms = int(rules.spacing_seconds * 1000)
        self._redis = redis.Redis.from_url(os.environ["RECONCILER_BROKER_URL"])

    def take(self, slot: SlotKey) -> Query | None:
        """Take a slot if its key is not there."""
        if not self._redis.set(f"budget:{slot.account_sid}", "1", nx=True, px=self._spacing_ms):
            return None
        with self._its_database.write() as connection:
            connection.execute(text("UPDATE query_budgets SET boot_due_us = 0, wait_us = 0"))
        return super().take(slot)


class AlwaysOpen(PointedMaintenance):
    """Finds every slot open, for a budget that is kept elsewhere."""

    def openings(self, slots: Sequence[SlotKey], *, within_seconds: float = 0.0) -> list[Opening]:
        """All of them, once their rows are there: Redis knows better."""
        super().openings(slots, within_seconds=within_seconds)
        return [Opening(slot=slot, in_seconds=0.0, last_token="") for slot in slots]


_stale = threading.local()


class StaleDatabase(PointedDatabase):
    """Returns, during a grant, the time that was read before it; the grant is made in the transaction that waited."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction of its own, or the one in which this thread has waited for the row."""
        waited: Connection | None = getattr(_stale, "transaction", None)
        with nullcontext(waited) if waited is not None else super().write() as connection:
            yield connection

    def now(self, connection: Connection) -> datetime:
        """The database's time, or the one that was read before."""
        time: datetime = getattr(_stale, "database", None) or super().now(connection)
        return time


class StaleClock(SteppedClock):
    """Returns, during a grant, the boot clock's time that was read before it."""

    def boot(self) -> float:
        """The boot clock's time, or the one that was read before."""
        return float(getattr(_stale, "boot", None) or super().boot())


class WaitingGrants(Grants):
    """Reads its clocks, waits for the row, and takes it."""

    def __init__(self, database: Database, clock: Clock, rules: Rules) -> None:
        super().__init__(database, clock, rules)
        self._its_database = database
        self._its_clock = clock

    def take(self, slot: SlotKey) -> Query | None:
        """Take a slot by stale clocks."""
        # The points of a grant are passed at the commit, which is here.
        with doing("attempt"), self._stale_clocks(), self._its_database.write() as connection:
            # The product's lock wait would give up after 10 s.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT id FROM query_budgets FOR UPDATE"))
            _stale.transaction = connection
            try:
                # Nobody else can take the row in between, with clocks of its own.
                return super().take(slot)
            finally:
                _stale.transaction = None

    @contextmanager
    def _stale_clocks(self) -> Iterator[None]:
        with self._its_database.read() as connection:
            database = self._its_database.now(connection)
        _stale.boot, _stale.database = self._its_clock.boot(), database
        try:
            yield
        finally:
            _stale.boot = _stale.database = None


class WaitingByDatabaseClock(WaitingGrants):
    """Only the database's time is stale."""

    @contextmanager
    def _stale_clocks(self) -> Iterator[None]:
        with super()._stale_clocks():
            _stale.boot = None
            yield


class LateDeadline(PlatformClient):
    """Counts the deadline from the send, not from before the grant."""

    def __init__(self, *, clock: Clock, **named: Any) -> None:
        super().__init__(clock=clock, **named)
        self._its_clock = clock

    def query(self, **named: Any) -> Answer:
        """Query, with a deadline of its own."""
        return super().query(**{**named, "started": self._its_clock.boot()})


class UnguardedWriteBack(PointedWriteBack):
    """Writes the answer over whatever is stored."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, peers: Peers | None = None) -> None:
        super().__init__(database, clock, rules, peers)
        self._its_database = database

    def answered(self, query: Query, answer: Answer) -> QueryEffects:
        """Write an answer back without a guard."""
        effects = super().answered(query, answer)
        states = {"1": "succeeded", "-1": "failed", "0": "pending"}
        with self._its_database.write() as connection:
            for request_id, (report, *_) in answer.said.items():
                connection.execute(
                    text(
                        "UPDATE recharge_orders SET state = :state, traffic_sts = :traffic_sts, settled_at = due_at"
                        " WHERE request_id = :request_id"
                    ),
                    {
                        "state": states[str(report.traffic_sts)],
                        "traffic_sts": int(str(report.traffic_sts)),
                        "request_id": request_id,
                    },
                )
        return effects


class SendToSendGrants(PointedGrants):
    """Reserves a window from the send on, as if the platform saw a query at that moment."""

    def __init__(self, database: Database, clock: Clock, rules: Rules) -> None:
        super().__init__(database, clock, replace(rules, deadline_seconds=0.05))


class SendToSendWriteBack(PointedWriteBack):
    """Leaves the slot as the grant has set it."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, peers: Peers | None = None) -> None:
        super().__init__(database, clock, rules, peers)
        self._its_database = database

    def answered(self, query: Query, answer: Answer) -> QueryEffects:
        """Write an answer back, and restore the slot's time."""
        columns = "due_at, boot_due_us, wait_us"
        with self._its_database.read() as connection:
            slot = connection.execute(text(f"SELECT {columns} FROM query_budgets")).mappings().one()
        effects = super().answered(query, answer)
        with self._its_database.write() as connection:
            values = "due_at = :due_at, boot_due_us = :boot_due_us, wait_us = :wait_us"
            connection.execute(text(f"UPDATE query_budgets SET {values}"), dict(slot))
        return effects


PRODUCT = Parts(
    clock=SteppedClock,
    host=simulated_host,
    database=PointedDatabase,
    maintenance=PointedMaintenance,
    grants=PointedGrants,
    write_back=PointedWriteBack,
)
VARIANTS = {
    "product": PRODUCT,
    "redis-budget": replace(PRODUCT, maintenance=AlwaysOpen, grants=RedisBudget),
    "waits-for-the-row": replace(
        PRODUCT, clock=StaleClock, database=StaleDatabase, grants=WaitingGrants, client=LateDeadline
    ),
    "waits-by-database-clock": replace(
        PRODUCT, clock=StaleClock, database=StaleDatabase, grants=WaitingByDatabaseClock, client=LateDeadline
    ),
    "no-guard": replace(PRODUCT, write_back=UnguardedWriteBack),
    "send-to-send": replace(PRODUCT, grants=SendToSendGrants, write_back=SendToSendWriteBack),
}
