"""What the demo reads while it watches and when it compares.

From the simulated platform by its control endpoint, and of its own account from the database.
"""

import json
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import func, inspect, select

from worker.database.tables import ORDERS, QUERIES
from worker.database.transactions import Database
from worker.demo.plan import PlannedOrder
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import Attention, OrderState, Source
from worker.views.orders import OrderSearch, count_orders
from worker.views.queries import Row, next_slot_at, recent_queries

_TIMEOUT_SECONDS = 10.0
_NO_ARRIVALS = 10**9

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
class Progress:
    """How far the account's orders have come."""

    states: Mapping[OrderState, int]
    settled_by: Mapping[Source, int]
    attention: int
    next_query_in: float | None
    """Seconds until the budget opens, zero or less where it is open; None before the worker's first tick."""
    queries: int
    latest: Sequence[Row]
    """Rows of queries, the newest first."""

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
        return bool(self.latest) and self.latest[0]["outcome"] == "in_flight"


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


def read_progress(database: Database, account: str, account_sid: str, rules: Rules) -> Progress:
    """Read all of it in one transaction."""
    settled_by = select(ORDERS.c.settled_by, func.count()).where(ORDERS.c.account == account)
    settled_by = settled_by.where(ORDERS.c.settled_by.is_not(None)).group_by(ORDERS.c.settled_by)
    shown: dict[str, Any] = {"outcomes": (), "since": None, "after": None, "most": _ANSWERS_SHOWN}
    with database.read() as connection:
        counted = count_orders(connection, OrderSearch(accounts=(account,)))
        due_at = next_slot_at(connection, account_sid, rules)
        states: Counter[OrderState] = Counter()
        for row in counted:
            states[row["state"]] += row["orders"]
        return Progress(
            states=states,
            settled_by={row[0]: row[1] for row in connection.execute(settled_by)},
            attention=sum(row["orders"] for row in counted if row["attention"]),
            next_query_in=None if due_at is None else (due_at - database.now(connection)).total_seconds(),
            queries=connection.scalar(select(func.count()).where(QUERIES.c.account == account)) or 0,
            latest=recent_queries(connection, account=account, **shown).rows,
        )


def read_orders(database: Database, account: str) -> dict[str, OrderLine]:
    """The account's orders by their request_id."""
    columns = [ORDERS.c[name] for name in OrderLine.__dataclass_fields__]
    with database.read() as connection:
        rows = connection.execute(select(*columns).where(ORDERS.c.account == account)).mappings()
        return {row["request_id"]: OrderLine(**row) for row in rows}
