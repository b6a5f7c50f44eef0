"""What people watch: what the database says of the accounts and the workers at one moment, and what monitoring finds in
it, which `worker.words.sentences` says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from worker.domain.records.accounts import AccountState, DatabaseChanges
from worker.domain.records.notifications import Endpoint
from worker.domain.records.orders import IdKind, Lane
from worker.domain.records.queries import Work

NOT_CONNECTED = ""
"""The account in the row of a host that cannot connect to the platform."""


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
    database_full_at: datetime | None = None
    """When it last failed to write because the database's disk is full; None where it never has. A small row like this
    one can often be written all the same."""
    version: str | None = None
    """The version of the program that it runs; None where its release does not say."""
    orders_waiting: int | None = None
    """How many messages waited in the queue of orders when it last asked the broker; None if it is not known."""
    ticks_waiting: int | None = None
    """How many messages waited in the queue of ticks."""
    queue_empty_at: datetime | None = None
    """When it last found the queue of orders empty; None if it never did."""
    taken_in_at: datetime | None = None
    """When a task last committed its work in it; None if none has. A retry is none."""
    other_deployment_at: datetime | None = None
    """When it last found that another deployment uses the same queues; None if it never did, or cannot tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PollingProcess:
    """A worker process that takes slots: it ticks, and nothing in it hangs."""

    name: str
    host: str
    accounts: frozenset[str]
    """The accounts in its settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOff:
    """A row of `cut_off_hosts`: a host whose queries fail, at once or for one account. Times are by the database's
    clock."""

    host: str
    account: str = NOT_CONNECTED
    """The account that the host is refused for."""
    since: datetime | None = None
    """When it was cut off; None while its refusals are only counted."""
    why: str = ""
    """How its last query failed."""
    probe_at: datetime
    """When the host tries again, although it is cut off."""
    tries: int = 0
    """Failed tries since then; before, the refusals."""
    answers_before: int = 0
    """Answers that all hosts together had for the account, up to the first refusal."""
    is_answered: bool = False
    """Whether the host has had an answer for another account since the last refusal."""
    credentials: str = ""
    """The digest of the host's credentials."""


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
    """The notifications of an account that were not received."""

    pending: int = 0
    oldest_changed_at: datetime | None = None
    """When the order changed that the oldest pending one is about."""
    queued_since: datetime | None = None
    """Since when the first pending one is to be delivered: since its change, or since it was resent, or refused."""
    waits_since: datetime | None = None
    """When the first pending one becomes due; None where none is pending. Where unsent ones are watched also None,
    unless it may be sent for five minutes, and none is under way."""
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


@dataclass(frozen=True, slots=True)
class WaitingItems:
    """The items of lists that were put off, as somebody else holds their orders locked: how many, and since when."""

    count: int
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """The whole deployment at `now`, by the database's clock."""

    now: datetime
    accounts: Sequence[AccountOverview] = ()
    workers: Sequence[WorkerRow] = ()
    endpoints: Sequence[Endpoint] = ()
    notifications: Mapping[str, NotificationCounts] = field(default_factory=dict)
    """By account, what was not received."""
    database: DatabaseChanges | None = None
    """What the slots of the configured accounts say of their database; None where it was not read."""
    cut_off: Sequence[CutOff] = ()
    put_off: WaitingItems | None = None


class Level(IntEnum):
    """How grave a finding is; the exit status of `reconciler status --check`."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


class FindingKind(StrEnum):
    """What is found: its stable name, and behind a point which of the cases it is where there are several."""

    NO_WORKER = "no_tick.none"
    WORKERS_AWAY = "no_tick.away"
    WORKER_KILLED = "no_tick.killed"
    """The last one of those that are away did not end in order."""
    NO_TICK = "no_tick.late"
    HANGS = "no_tick.hangs"
    NEVER_TICKED = "no_tick.never"
    NO_BROKER = "no_broker.all"
    NO_BROKER_SOMEWHERE = "no_broker.some"
    NO_BEAT = "no_beat"
    DATABASE_FULL = "database_full"
    NOTHING_TAKEN_IN = "nothing_taken_in"
    """Messages wait at the broker, and no task commits its work."""
    ORDERS_PUT_OFF = "orders_put_off"
    """Another session has held orders locked for long, and what names them waits."""
    SHARED_QUEUES = "shared_queues"
    """Another deployment takes messages from the same queues."""
    HOST_NOT_CONNECTED = "host_cut_off.not_connected"
    HOST_REFUSED = "host_cut_off.refused"
    HOST_REFUSED_FOR_ALL = "host_cut_off.refused_for_all"
    ANOTHER_DATABASE = "database_changed.now"
    DATABASE_CHANGED = "database_changed.lately"
    DATABASE_CHANGES = "database_changed.often"
    PAUSED = "paused"
    OUTAGE = "outage"
    BACK_OFF = "back_off"
    BACK_OFF_BECAUSE = "back_off.because"
    TOO_FREQUENT = "too_frequent"
    BACKLOG = "backlog"
    POLLED_ALONE = "polled_alone"
    """More orders wait for a query of their own than a day can poll."""
    NOT_SERVED = "not_served"
    NEVER_QUERIED = "nothing_asked.never"
    NOT_QUERIED = "nothing_asked"
    ATTENTION = "attention"
    ENDPOINT_STOPPED = "endpoint_stopped"
    ENDPOINT_FAILING = "endpoint_failing"
    ENDPOINT_MISSING = "endpoint_missing"
    NOTIFICATIONS_UNSENT = "notifications_unsent"
    NOTIFICATIONS_LATE = "notifications_late"
    NOTIFICATIONS_GAVE_UP = "notifications_gave_up"

    @property
    def stable_name(self) -> str:
        """The name by which programs know it."""
        return self.value.partition(".")[0]


class BackOffReason(StrEnum):
    """Why an account backs off, where its last query does not say it."""

    CONFIGURATION_REFUSED = "configuration_refused"
    TOO_FREQUENT = "too_frequent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something to report."""

    kind: FindingKind
    level: Level = Level.WARNING
    account: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    """What its sentence names: durations, counts, names."""

    @property
    def name(self) -> str:
        """The name by which programs know it."""
        return self.kind.stable_name
