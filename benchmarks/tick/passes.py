"""Passes on synthetic tables: how long each part takes. The clocks run ahead, so that no pass waits for its slot.

A pass takes a slot, leases its orders, and writes an answer back that settles eight of ten; then, not measured, its
orders are put back to the end of their queues, so that the next pass finds tables of the same size and shape.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select, update

from benchmarks.bench import APP_ID, settings
from benchmarks.tick.clocks import BootClock, VirtualDatabase
from benchmarks.tick.rows import ACCOUNT, BEGINNING
from worker.database.tables import BUDGETS, ORDERS, QUERIES
from worker.database.transactions import Database
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Answer
from worker.domain.records.orders import IdKind, Order
from worker.domain.records.queries import Choice, Query, Work
from worker.domain.wire.replies import read_answer
from worker.operations.learn import read_schedule
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants, choose_due
from worker.operations.write_back import WriteBack
from worker.process.runtime import Parts, Runtime
from worker.settings.rules import rules_of, slots_of
from worker.stores.accounts import lock_states
from worker.stores.recharge_orders import to_values

PARTS = ("quiet_tick", "choose", "grant", "write_back")
BATCH = 100

# Ages grow from run to run, as the tables are kept: no order may grow too old in the middle of a measurement.
_NEVER_SECONDS = 365 * 86_400.0
_WARM_UP = 20
# Singles and suspects take their turns, too: they are carried out, and left out of the medians.
_MOST_TURNS_PER_BATCH = 5


@dataclass(kw_only=True, slots=True)
class Timings:
    """Seconds that each part took, pass by pass."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Time what happens in the context as that part."""
        start = time.perf_counter()
        yield
        self.seconds[part].append(time.perf_counter() - start)


class Passes:
    """One slot of one account, on a filled database; close it at the end."""

    def __init__(self, url: str) -> None:
        self.settings = settings(url, tick_seconds=20, unresolved_after_seconds=_NEVER_SECONDS)
        self.rules: Rules = rules_of(self.settings)
        self.database = VirtualDatabase(url)
        self._clock = BootClock()
        self._maintenance = SlotMaintenance(self.database, self._clock, self.rules)
        self._grants = Grants(self.database, self._clock, self.rules)
        self._write_back = WriteBack(self.database, self._clock, self.rules)
        (self._slot,) = slots_of(self.settings)
        self._maintenance.prepare([self._slot])
        self._start_clocks()

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def take(self) -> Query:
        """Take the slot, which is open. Raises RuntimeError where nothing was due."""
        self._clock.ahead += self.rules.reservation_seconds + 1
        query = self._grants.take(self._slot)
        if query is None:
            raise RuntimeError("nothing is due: more pending orders are needed")
        return query

    def answered(self, query: Query, answer: Answer) -> QueryEffects:
        """Write an answer back."""
        return self._write_back.answered(query, answer)

    def put_back(self, query: Query) -> None:
        """Put the orders of a query to the end of their queues, as old at their last poll as they were."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            rows = [{"row_id": order.id, **to_values(_at_the_end(order, now), now)} for order in query.orders]
            values: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in rows[0] if name != "row_id"}
            connection.execute(update(ORDERS).where(ORDERS.c.id == bindparam("row_id")).values(values), rows)

    def measure(self, runs: int) -> Timings:
        """Time so many batches, and as many ticks that may not query."""
        warm = Timings()
        self._measure_batches(warm, min(_WARM_UP, 5 * runs))
        timings = Timings()
        self._measure_batches(timings, runs)
        self._measure_quiet_ticks(timings, runs)
        return timings

    def step(self, timings: Timings) -> bool:
        """One pass, timed; returns whether it was of a whole batch, and so counts."""
        with self.database.read() as connection, timings.of("choose"):
            self._choose(connection)
        with timings.of("grant"):
            query = self.take()
        answer = answer_to(query)
        with timings.of("write_back"):
            self.answered(query, answer)
        self.put_back(query)
        return query.work is Work.BATCH and len(query.orders) == BATCH

    def _runtime(self) -> Runtime:
        # By the same clock the last grant has closed the slot: no tick may query.
        if self._maintenance.openings([self._slot]):
            raise RuntimeError("the slot is open: a tick would query")
        return Runtime(self.settings, Parts(clock=lambda: self._clock))

    def _choose(self, connection: Connection) -> Choice | None:
        now = self.database.now(connection)
        state = lock_states(connection, [ACCOUNT])[ACCOUNT]
        return choose_due(connection, state, read_schedule(connection, ACCOUNT, self.rules), now, self.rules)

    def _measure_batches(self, timings: Timings, runs: int) -> None:
        counted = Timings()
        for _ in range(_MOST_TURNS_PER_BATCH * runs):
            one = Timings()
            if self.step(one):
                for part, seconds in one.seconds.items():
                    counted.seconds[part] += seconds
            if len(counted.seconds["grant"]) == runs:
                break
        else:
            raise RuntimeError(f"fewer than {runs} queries were batches of {BATCH}: more pending orders are needed")
        timings.seconds.update(counted.seconds)

    def _measure_quiet_ticks(self, timings: Timings, runs: int) -> None:
        runtime = self._runtime()
        try:
            for _ in range(_WARM_UP):
                runtime.ticks.tick()
            for _ in range(runs):
                with timings.of("quiet_tick"):
                    runtime.ticks.tick()
        finally:
            runtime.close()

    def _start_clocks(self) -> None:
        last = select(QUERIES.c.sent_at).order_by(QUERIES.c.id.desc()).limit(1)
        with self.database.write() as connection:
            begun = max(BEGINNING, connection.scalar(last) or BEGINNING) + timedelta(seconds=1)
            self.database.moved = begun - Database.now(self.database, connection)
            connection.execute(update(BUDGETS).values(boot_due_us=0, due_at=BEGINNING))


def answer_to(query: Query) -> Answer:
    """Of ten orders two are still recharging, and one has failed; one that is polled alone is still recharging."""
    field_name = "requestId" if query.id_kind is IdKind.REQUEST_ID else "customParm"
    items = [_item(field_name, order, number, query.is_alone) for number, order in enumerate(query.orders)]
    body = json.dumps(items).encode()
    return read_answer(body, "application/json;charset=utf-8", query.id_kind, query.ids)


def _item(field_name: str, order: Order, number: int, alone: bool) -> dict[str, str | None]:
    status = "0" if alone else {0: "0", 1: "0", 2: "-1"}.get(number % 10, "1")
    return {
        field_name: order.polled_id,
        "appid": APP_ID,
        "mobile": order.mobile and f"{order.mobile[:3]}****{order.mobile[7:]}",
        "trafficSts": status,
        "remark": "成功",
        "oriAmount": "0.00" if status == "-1" else "2.94",
    }


def _at_the_end(order: Order, now: datetime) -> Order:
    later = now - order.due_at
    polled = None if order.queried_at is None else order.queried_at + later
    return replace(order, submitted_at=order.submitted_at + later, due_at=now, queried_at=polled, lease_token=None)
