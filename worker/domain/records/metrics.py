"""Values for monitoring: rows that are counted once each, and the gauges that one reading of the database gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.domain.records.accounts import AccountState
from worker.domain.records.monitoring import CutOff, NotificationCounts, PendingOrders, WorkerRow
from worker.domain.records.orders import OrderState, Source

Labels = tuple[tuple[str, str], ...]
"""Pairs of label and value, sorted by label."""
TotalKey = tuple[str, Labels]
"""The name of a total and its labels."""


class Stream(StrEnum):
    """A table whose rows are counted once each, in the order of their ids."""

    QUERIES = "platform_queries"
    EVENTS = "order_events"
    REJECTED = "rejected_orders"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """The last counted row of a stream."""

    counted_id: int = 0
    counted_at: datetime
    """The latest time of any counted row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryToCount:
    """A row of `platform_queries` that is counted."""

    id: int
    at: datetime
    """When the query was sent."""
    account: str
    outcome: str
    order_count: int
    answered_at: datetime | None
    status_msg: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventToCount:
    """A row of `order_events` that is counted. `account` and `submitted_at` are None if the event settled nothing."""

    id: int
    at: datetime
    source: Source
    account: str | None
    to_state: OrderState | None
    submitted_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedToCount:
    """A row of `rejected_orders` that is counted."""

    id: int
    at: datetime
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """How the next rows of a stream change its totals."""

    cursor: Cursor
    added: Mapping[TotalKey, float]
    replaced: Mapping[TotalKey, float]
    """Totals that are set to a value of the latest row, such as the time of the last answer."""
    rows: int


class Count(StrEnum):
    """A count for which the database must read every row, so that it may take too long for a scrape."""

    PENDING = "pending"
    ATTENTION = "attention"
    UNRESOLVED = "unresolved"
    UNMATCHED = "unmatched"
    NOTIFICATIONS = "notifications"


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedRows:
    """The counts by account; None for each count that is not known yet."""

    pending: Mapping[str, PendingOrders] | None = None
    attention: Mapping[tuple[str, str], int] | None = None
    """The counts by account and reason."""
    unresolved: Mapping[str, int] | None = None
    unmatched: Mapping[str, int] | None = None
    notifications: Mapping[str, NotificationCounts] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LastQuery:
    """Times of an account's newest query and newest answer; None if the rows that were read have none."""

    sent_at: datetime | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauges:
    """The state of the deployment at `now`, on the database's clock."""

    now: datetime
    accounts: Sequence[str]
    """All known accounts, sorted by name."""
    counts: CountedRows = field(default_factory=CountedRows)
    states: Sequence[AccountState] = ()
    workers: Sequence[WorkerRow] = ()
    cut_off: Sequence[CutOff] = ()
    last_queries: Mapping[str, LastQuery] = field(default_factory=dict)
    """The last queries by account, among the queries that the totals do not count yet."""
