"""What the checker decides from: the platform's record and truth, and the database's tables."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

Row = Mapping[str, Any]

FINAL = {"succeeded": "1", "failed": "-1"}
"""The final states, and the platform's status of each."""

_TABLES = {
    "orders": "SELECT * FROM recharge_orders ORDER BY id",
    "events": "SELECT * FROM order_events ORDER BY id",
    "queries": "SELECT * FROM platform_queries ORDER BY id",
    "rejected": "SELECT payload FROM rejected_orders ORDER BY id",
    "kept_callbacks": "SELECT request_id, payload FROM unmatched_callbacks ORDER BY id",
    "changes": "SELECT * FROM order_history ORDER BY id",
}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What the billing system sent, as it recorded it."""

    orders: frozenset[str] = frozenset()
    """Request ids whose enqueue message a broker kept, or whose row was seen."""
    refused: frozenset[str] = frozenset()
    """Request ids of inputs that had to be refused."""
    cancelled: frozenset[str] = frozenset()
    """Request ids of orders whose cancellation a broker kept."""
    callbacks: Sequence[Row] = ()
    """Bodies of callbacks, as the billing system passed them on, or as the platform posted them."""
    resolved: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What an operator has said of orders last: state and amount, by request id."""
    reopened: Sequence[str] = ()
    """Request ids of the orders that an operator has reopened, each as often as that was done."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """When the fault was gone, and by when every due order had to be polled."""

    healed_at: float
    """Seconds on the platform's monotonic clock."""
    bound_seconds: float
    due: frozenset[str]
    """Request ids of the orders that were due, or became so."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that is checked."""

    window_seconds: float
    queries_per_window: int
    arrivals: Sequence[Row]
    truth: Mapping[str, Row]
    """By request id."""
    orders: Sequence[Row]
    events: Sequence[Row]
    queries: Sequence[Row]
    rejected: Sequence[Row]
    kept_callbacks: Sequence[Row]
    changes: Sequence[Row]
    sent: Sent = field(default_factory=Sent)
    recovery: Recovery | None = None
    clock_was_stepped: bool = False
    """Whether a clock was wrong for a while: by a wrong clock's signature the platform refuses a query unread."""


def collect(
    *,
    platform_url: str,
    database_url: str,
    sent: Sent,
    recovery: Recovery | None,
    window: float,
    queries: int,
    clock_was_stepped: bool,
) -> Evidence:
    """Read the platform's record and the database. `window` is in seconds, `queries` per window and SID."""
    engine = sqlalchemy.create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        tables = {
            name: [dict(row) for row in connection.exec_driver_sql(statement).mappings()]
            for name, statement in _TABLES.items()
        }
    return Evidence(
        window_seconds=window,
        queries_per_window=queries,
        arrivals=_read(platform_url, "record")["arrivals"],
        truth={order["request_id"]: order for order in _read(platform_url, "truth")["orders"]},
        sent=sent,
        recovery=recovery,
        clock_was_stepped=clock_was_stepped,
        **tables,
    )


def _read(url: str, path: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/simulator/{path}", timeout=60) as answer:
        return json.load(answer)


def same_amount(one: object, other: object) -> bool:
    """Whether two amounts are one, however they are written."""
    try:
        return Decimal(str(one)) == Decimal(str(other))
    except InvalidOperation:
        return one == other
