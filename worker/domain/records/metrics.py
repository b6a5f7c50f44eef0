"""What is counted for monitoring: the rows that are counted, and what a reading of the database holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import OrderState, Source
from worker.domain.records.watching import CutOff, NotificationCounts, PendingOrders, WaitingItems, WorkerRow

Labels = tuple[tuple[str, str], ...]
"""Label and value, sorted by label."""
TotalKey = tuple[str, Labels]
"""The name of a total, and its labels."""


class Stream(StrEnum):
    """A table whose rows are counted in the order of their ids, each row once."""

    QUERIES = "platform_queries"
    EVENTS = "order_events"
    REJECTED = "rejected_orders"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """How far the rows of a stream were counted."""

    counted_id: int = 0
    counted_at: datetime
    """The latest time of a row that was counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryToCount:
    """A row of `platform_queries`."""

    id: int
    at: datetime
    """When it was sent."""
    account: str
    outcome: str
    order_count: int
    answered_at: datetime | None
    status_msg: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventToCount:
    """A row of `order_events`. The fields without a value are those of an event that settled nothing."""

    id: int
    at: datetime
    source: Source
    account: str | None
    to_state: OrderState | None
    submitted_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedToCount:
    """A row of `rejected_orders`."""

    id: int
    at: datetime
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What the next rows of a stream add to its totals."""

    cursor: Cursor
    added: Mapping[TotalKey, float]
    replaced: Mapping[TotalKey, float]
    """Values that the later row decides alone, such as the time of the last answer."""
    rows: int


class Count(StrEnum):
    """What is counted row by row, and may be too much for a scrape."""

    PENDING = "pending"
    ATTENTION = "attention"
    UNRESOLVED = "unresolved"
    UNMATCHED = "unmatched"
    NOTIFICATIONS = "notifications"


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedRows:
    """Each count by account, as far as it is known: one that is missing is not known yet."""

    pending: Mapping[str, PendingOrders] | None = None
    attention: Mapping[tuple[str, str], int] | None = None
    """By account and reason."""
    unresolved: Mapping[str, int] | None = None
    unmatched: Mapping[str, int] | None = None
    notifications: Mapping[str, NotificationCounts] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LastQuery:
    """The newest query of an account, and the newest that was answered; None where what was read holds none."""

    sent_at: datetime | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauges:
    """The state of the deployment at `now`, by the database's clock."""

    now: datetime
    accounts: Sequence[str]
    """Every account that is known, by name."""
    counts: CountedRows = field(default_factory=CountedRows)
    states: Sequence[AccountState] = ()
    workers: Sequence[WorkerRow] = ()
    cut_off: Sequence[CutOff] = ()
    put_off: WaitingItems | None = None
    last_queries: Mapping[str, LastQuery] = field(default_factory=dict)
    """Among the queries that no total counts yet."""
