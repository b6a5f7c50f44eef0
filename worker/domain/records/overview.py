"""What the database says of an account and of the workers at one moment, as far as people watch it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from worker.domain.records.accounts import AccountState, DatabaseChanges
from worker.domain.records.notifications import Endpoint
from worker.domain.records.orders import Lane
from worker.domain.records.queries import Work
from worker.domain.records.reports import IdKind


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """One row of `worker_processes`. Times are by the database's clock."""

    name: str
    """Host, process id and start: another process never has it."""
    host: str
    pid: int
    started_at: datetime
    last_tick_at: datetime | None
    """When its last tick ended without an error; None before the first one has."""
    written_at: datetime
    clock_offset_seconds: float
    """The host's wall clock minus the database's."""
    accounts: tuple[str, ...] | None
    """The accounts in its settings: it polls the orders of no other. None where its release does not say."""
    broker_asked_at: datetime | None = None
    """When it last asked the broker whether it answers; None where its release does not ask, or it has not yet."""
    broker_answered_at: datetime | None = None
    """When the broker last answered it; None before it ever has."""
    last_beat_at: datetime | None = None
    """When it last received a tick's message; None where it never has. Beat sends one to some process each period."""
    database_identity: str | None = None
    """Of the database that it wrote the row in, as `DatabaseIdentity` has it; None where its release does not say."""
    hanging_since: datetime | None = None
    """When something under way in it made its last step that hangs since; None where nothing does. Such a process
    ends itself before long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingCount:
    """How many pending orders of an account are polled in one way."""

    lane: Lane
    id_kind: IdKind
    pending: int
    due: int = 0
    never_polled: int = 0
    """No answered query polled them yet."""
    oldest_due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingOrders:
    """The pending orders of an account."""

    counts: Sequence[PendingCount] = ()

    @property
    def pending(self) -> int:
        """Pending orders."""
        return sum(count.pending for count in self.counts)

    @property
    def due(self) -> int:
        """Pending orders that may be polled now."""
        return sum(count.due for count in self.counts)

    @property
    def never_polled(self) -> int:
        """Pending orders that no answered query polled yet."""
        return sum(count.never_polled for count in self.counts)

    @property
    def oldest_due_at(self) -> datetime | None:
        """Since when the order waits that has been due for longest."""
        return min((count.oldest_due_at for count in self.counts if count.oldest_due_at is not None), default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PastQuery:
    """A row of `platform_queries`, as far as people watch it."""

    sent_at: datetime
    work: str
    order_count: int
    outcome: str
    status_msg: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationCounts:
    """The notifications of an account that nobody has received."""

    pending: int = 0
    oldest_changed_at: datetime | None = None
    """When the order changed that the oldest pending one is about."""
    queued_since: datetime | None = None
    """Since when the first pending one is to be delivered: since its change, or since it was resent, or refused."""
    waits_since: datetime | None = None
    """Since when the first pending one is due; None where none is, or where some are under way."""
    gave_up: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountOverview(PendingOrders):
    """One account. Counts by source or reason are by the stored word; a reason of `None` stands for none."""

    account: str
    account_sid: str | None
    """None where the settings do not name the account."""
    state: AccountState
    in_flight: int = 0
    """Orders in queries that are under way."""
    settled_hour: Mapping[str, int] = field(default_factory=dict)
    """Of the last hour, by source."""
    settled_day: Mapping[str, int] = field(default_factory=dict)
    attention: Mapping[str, int] = field(default_factory=dict)
    """By reason, whatever the state."""
    unresolved: Mapping[str | None, int] = field(default_factory=dict)
    """By reason; those are among `attention`, but for the ones without a reason."""
    last_query_at: datetime | None = None
    queries: Sequence[PastQuery] = ()
    """The last ones, the newest first."""
    lost_share: float | None = None
    """Of the settled orders, the share whose callback never comes, as learned; None before anything is known."""

    @property
    def batches(self) -> list[int]:
        """How many orders the last batches held, the newest first."""
        return [query.order_count for query in self.queries if query.work == Work.BATCH]

    @property
    def needs_a_person(self) -> int:
        """Orders with a reason for attention, and unresolved ones without."""
        return sum(self.attention.values()) + self.unresolved.get(None, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """The whole deployment at `now`, by the database's clock."""

    now: datetime
    accounts: Sequence[AccountOverview] = ()
    workers: Sequence[WorkerRow] = ()
    endpoints: Sequence[Endpoint] = ()
    notifications: Mapping[str, NotificationCounts] = field(default_factory=dict)
    """By account, what nobody has received."""
    database: DatabaseChanges | None = None
    """What the slots of the configured accounts say of their database; None where it was not read."""
