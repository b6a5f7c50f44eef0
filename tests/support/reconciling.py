"""The worker's operations on a database of the test's own, with a boot clock that the test moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Executable, select, text, update

from worker.adapters.clock import HostClock
from worker.database.tables import BUDGETS, EVENTS, ORDERS
from worker.database.transactions import Database
from worker.domain.records.accounts import AccountState, Pause, Rules, SlotKey
from worker.domain.records.incoming import Answer, Report
from worker.domain.records.orders import Order
from worker.domain.records.queries import Query
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.process.intake import Intake
from worker.stores.accounts import lock_states, save_state
from worker.stores.recharge_orders import ORDER_COLUMNS, to_order

APP_IDS = {"default": "app-1"}
SID = "0123456789abcdef0123456789abcdef"


@dataclass
class ManualClock:
    """A boot clock that stands still until the test moves it."""

    boot_id: str = "boot-1"
    seconds: float = 1_000.0

    def boot(self) -> float:
        """Seconds since the simulated boot."""
        return self.seconds

    def now(self) -> datetime:
        """The host's own wall clock."""
        return HostClock().now()

    def advance(self, seconds: float) -> None:
        """Let time pass on this host."""
        self.seconds += seconds


class SteppedDatabase(Database):
    """A database whose clock the test steps, and may stop."""

    step = timedelta(0)
    stopped_at: datetime | None = None

    def now(self, connection: Connection) -> datetime:
        """The stepped clock's time."""
        return (self.stopped_at or super().now(connection)) + self.step


@dataclass
class Workbench:
    """One process's parts."""

    url: str
    rules: Rules = field(default_factory=lambda: Rules(grace_seconds=1.0))
    app_ids: Mapping[str, str] = field(default_factory=lambda: dict(APP_IDS))
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.database = SteppedDatabase(self.url, idle_transaction_seconds=self.rules.deadline_seconds)
        self.maintenance = SlotMaintenance(self.database, self.clock, self.rules)
        self.grants = Grants(self.database, self.clock, self.rules)
        self.write_back = WriteBack(self.database, self.clock, self.rules)
        self.intake = Intake(self.database, self.rules, self.app_ids)
        self.slots = [
            SlotKey(account_sid=SID, number=number, app_ids=self.app_ids) for number in range(self.rules.slots)
        ]

    @property
    def slot(self) -> SlotKey:
        """The first slot."""
        return self.slots[0]

    def open(self) -> "Workbench":
        """Begin the slots' rows, and let their first reservation pass."""
        self.maintenance.prepare(self.slots)
        self.clock.advance(self.rules.reservation_seconds)
        return self

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def now(self) -> datetime:
        """The time by the database's clock."""
        with self.database.read() as connection:
            return self.database.now(connection)

    def zone_where_it_is(self, hour: int) -> str:
        """A time zone where the hour is this one now, so that no midnight is near."""
        ahead = (hour - self.now().hour + 12) % 24 - 12
        # In these names the sign is the other way round.
        return f"Etc/GMT{-ahead:+d}"

    def add(self, *request_ids: str, age_seconds: float = 3600.0, **fields: Any) -> list[Order]:
        """Enqueue orders that are due."""
        return self.enqueue(*({"request_id": name, **fields} for name in request_ids), age_seconds=age_seconds)

    def enqueue(self, *orders: dict[str, Any], age_seconds: float = 3600.0) -> list[Order]:
        """Enqueue orders as they are given, submitted `age_seconds` ago; returns all orders."""
        submitted_at = (self.now() - timedelta(seconds=age_seconds)).isoformat()
        for start in range(0, len(orders), 1000):
            listed = [{"submitted_at": submitted_at, **order} for order in orders[start : start + 1000]]
            answer = self.intake.enqueue_orders(listed)
            assert answer["rejected"] == []
        return self.orders()

    def make_due(self) -> None:
        """Make every pending order due: the database's clock cannot be moved."""
        past = self.now() - timedelta(seconds=1)
        self.run(update(ORDERS).where(ORDERS.c.lease_token.is_(None)).values(due_at=past))

    def let_slots_be_due(self) -> None:
        """Have all slots' rows say that they may carry a query."""
        self.run(update(BUDGETS).values(due_at=self.now() - timedelta(seconds=1)))

    def open_slots(self) -> list[SlotKey]:
        """Those that may carry a query now, as a tick sees it."""
        return [opening.slot for opening in self.maintenance.openings(self.slots)]

    def take(self) -> Query:
        """Take the first slot, which must be free."""
        query = self.grants.take(self.slot)
        assert query is not None, "no query was granted"
        return query

    def take_after(self, seconds: float) -> Query:
        """Take the first slot, which opens in so many seconds of the boot clock, not a moment earlier or later."""
        self.clock.advance(seconds - 0.001)
        assert self.grants.take(self.slot) is None, "the slot was open too early"
        self.clock.advance(0.002)
        return self.take()

    def take_twice(self) -> tuple[Query, Query]:
        """A query whose lease has run out, and the one that polls its orders since."""
        stale = self.take()
        self.clock.advance(self.rules.reservation_seconds)
        self.run("UPDATE recharge_orders SET due_at = submitted_at WHERE lease_token IS NOT NULL")
        return stale, self.take()

    def reconcile(self, answer: "Sequence[Report]") -> Query:
        """One whole pass that is answered with these items; afterwards the window has passed."""
        query = self.take()
        self.write_back.answered(query, answer_to(query, answer))
        self.clock.advance(self.rules.spacing_seconds)
        return query

    def orders(self) -> list[Order]:
        """All orders, by id."""
        with self.database.read() as connection:
            rows = connection.execute(select(*ORDER_COLUMNS).order_by(ORDERS.c.id))
            return [to_order(row) for row in rows]

    def order(self, name: str) -> Order:
        """The order that has this id of either kind."""
        return next(order for order in self.orders() if name in (order.request_id, order.custom_parm))

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """All rows of a table, by id."""
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings()]

    def state(self, account: str = "default") -> AccountState:
        """The stored state of an account."""
        with self.database.write() as connection:
            return lock_states(connection, [account])[account]

    def put_state(self, state: AccountState) -> None:
        """Store the state of an account."""
        with self.database.write() as connection:
            save_state(connection, lock_states(connection, [state.account])[state.account], state)

    def put_pauses(self, *pauses: Pause, account: str = "default") -> None:
        """Store that an account has these pauses and no others."""
        self.put_state(replace(self.state(account), pauses=pauses))

    def events_of(self, name: str) -> list[dict[str, Any]]:
        """The events of an order."""
        order_id = self.order(name).id
        return [row for row in self.rows(EVENTS) if row["order_id"] == order_id]

    def run(self, statement: str | Executable, *rows: Mapping[str, Any], **values: Any) -> None:
        """Change the database by a statement of the test's own: with these values, or for each of these rows."""
        with self.database.write() as connection:
            connection.execute(text(statement) if isinstance(statement, str) else statement, rows or values or None)


def errors_of(answer: Mapping[str, Any]) -> dict[int | None, list[str]]:
    """What an intake refused, by the index in its list."""
    return {one["index"]: one["errors"] for one in answer["rejected"]}


def item(request_id: str | None = None, status: str = "1", amount: str | None = "2.94", **fields: Any) -> Report:
    """One item of an answer."""
    has_amount = amount is not None
    return Report(request_id=request_id, traffic_sts=status, ori_amount=amount, has_amount_field=has_amount, **fields)


def answer_to(query: Query, items: Sequence[Report]) -> Answer:
    """The answer that the client returns for these items, by the ids that the query polled."""
    said: dict[str, tuple[Report, ...]] = {}
    added: list[Report] = []
    for report in items:
        name = report.request_id if query.id_kind.value == "requestId" else report.custom_parm
        if name in query.ids:
            said[str(name)] = (*said.get(str(name), ()), report)
        else:
            added.append(report)
    absent = tuple(name for name in query.ids if name not in said)
    return Answer(said=said, absent=absent, added=tuple(added), excerpt="{}")
