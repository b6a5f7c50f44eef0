"""What the demo reads while it watches and when it compares.

From the simulated platform by its control endpoint, and of its own account from the database.
"""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, func, inspect, select

from worker.database.tables import BUDGETS, ORDERS, QUERIES
from worker.database.transactions import Database
from worker.demo.plan import PlannedOrder
from worker.domain.records.orders import Attention, OrderState, Source

_TIMEOUT_SECONDS = 10.0
_NO_ARRIVALS = 10**9
T = TypeVar("T")

_ANSWERS_SHOWN = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What is true of one order at the platform."""

    request_id: str
    outcome: str
    """`1` recharged, `-1` failed, `stuck`."""
    settled: bool
    amount: str
    """Charged, in yuan."""
    unknown: bool
    """The platform does not know it."""
    callback: str
    """`sent`, `lost`, `waiting`, `failed` or `none`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformRecord:
    """What the platform recorded of the queries that reached it."""

    queries: tuple[tuple[str, ...], ...]
    """The ids that each query polled, in the order of arrival."""
    violations: tuple[str, ...]
    smallest_spacing: float | None
    """Seconds; None where fewer than two queries arrived."""
    callbacks: Mapping[str, int]
    """How many are in each state."""


class PlatformControl:
    """A client of the control endpoint of a simulated platform on this machine. Raises OSError where it is gone."""

    def __init__(self, url: str) -> None:
        self._url = url
        # A proxy of the environment must not stand between two processes of one machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def place(self, orders: Sequence[PlannedOrder]) -> None:
        """Place orders at the platform: their times begin to count."""
        self._call("/simulator/orders", {"orders": [order.placing() for order in orders]})

    def callbacks(self) -> Mapping[str, int]:
        """How many callbacks are in each state."""
        counts: Mapping[str, int] = self._call(f"/simulator/record?after={_NO_ARRIVALS}")["callbacks"]
        return counts

    def record(self) -> PlatformRecord:
        """Everything that the platform recorded."""
        record = self._call("/simulator/record")
        spacings = [spacing for spacing in record["smallest_spacing"].values() if spacing is not None]
        return PlatformRecord(
            queries=tuple(tuple(arrival["ids"]) for arrival in record["arrivals"]),
            violations=tuple(violation["kind"] for violation in record["violations"]),
            smallest_spacing=min(spacings, default=None),
            callbacks=record["callbacks"],
        )

    def truth(self) -> list[Truth]:
        """Every order as it truly stands."""
        names = Truth.__dataclass_fields__
        return [Truth(**{name: one[name] for name in names}) for one in self._call("/simulator/truth")["orders"]]

    def _call(self, path: str, sent: object = None) -> Any:
        data = None if sent is None else json.dumps(sent).encode()
        with self._opener.open(self._url + path, data, _TIMEOUT_SECONDS) as answer:
            return json.load(answer)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryLine:
    """One query, as far as a view shows it. The counts are None where no answer was read."""

    id: int
    order_count: int
    outcome: str
    settled: int | None
    pending: int | None
    absent: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the account's orders have come."""

    states: Mapping[OrderState, int]
    settled_by: Mapping[Source, int]
    attention: int
    next_query_in: float | None
    """Seconds until the budget opens, zero or less where it is open; None before the worker's first tick."""
    queries: int
    latest: tuple[QueryLine, ...]
    """The newest first."""

    @property
    def orders(self) -> int:
        """How many orders were enqueued."""
        return sum(self.states.values())

    @property
    def final(self) -> int:
        """How many orders are settled for good."""
        return sum(count for state, count in self.states.items() if state.is_final)

    @property
    def is_querying(self) -> bool:
        """Whether a query is under way."""
        return bool(self.latest) and self.latest[0].outcome == "in_flight"


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderLine:
    """One order, as its row says."""

    request_id: str
    state: OrderState
    expected_amount: Decimal | None
    ori_amount: Decimal | None
    settled_by: Source | None
    attention: Attention | None
    query_count: int


def is_empty(url: str) -> bool:
    """Whether a database has no tables."""
    with closing(Database(url, pool_size=1)) as database:
        return not inspect(database.engine).get_table_names()


def read_progress(database: Database, account: str, account_sid: str) -> Progress:
    """Read all of it in one transaction."""
    with database.read() as connection:
        return Progress(
            states=_count(connection, account, ORDERS.c.state),
            settled_by=_count(connection, account, ORDERS.c.settled_by),
            attention=sum(_count(connection, account, ORDERS.c.attention).values()),
            next_query_in=_next_query_in(database, connection, account_sid),
            queries=connection.scalar(select(func.count()).where(QUERIES.c.account == account)) or 0,
            latest=_latest(connection, account),
        )


def read_orders(database: Database, account: str) -> dict[str, OrderLine]:
    """The account's orders by their request_id."""
    columns = [ORDERS.c[name] for name in OrderLine.__dataclass_fields__]
    with database.read() as connection:
        rows = connection.execute(select(*columns).where(ORDERS.c.account == account)).mappings()
        return {row["request_id"]: OrderLine(**row) for row in rows}


def _count(connection: Connection, account: str, column: ColumnElement[T]) -> dict[T, int]:
    counted = select(column, func.count()).where(ORDERS.c.account == account, column.is_not(None)).group_by(column)
    return {row[0]: row[1] for row in connection.execute(counted)}


def _next_query_in(database: Database, connection: Connection, account_sid: str) -> float | None:
    due_at = connection.scalar(select(func.min(BUDGETS.c.due_at)).where(BUDGETS.c.account_sid == account_sid))
    return None if due_at is None else (due_at - database.now(connection)).total_seconds()


def _latest(connection: Connection, account: str) -> tuple[QueryLine, ...]:
    counts = (QUERIES.c[f"{name}_count"].label(name) for name in ("settled", "pending", "absent"))
    columns = select(QUERIES.c.id, QUERIES.c.order_count, QUERIES.c.outcome, *counts)
    newest = columns.where(QUERIES.c.account == account).order_by(QUERIES.c.id.desc()).limit(_ANSWERS_SHOWN)
    return tuple(QueryLine(**row) for row in connection.execute(newest).mappings())
