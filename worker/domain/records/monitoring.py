"""Values for people who watch the deployment: the accounts and workers as the database shows them, and the findings.

`worker.words.sentences` words the findings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from worker.domain.records.accounts import AccountState, DatabaseChanges
from worker.domain.records.notifications import Endpoint
from worker.domain.records.orders import IdKind, Lane
from worker.domain.records.queries import Work

NOT_CONNECTED = ""
"""A `CutOff` has this in place of an account name if the host cannot connect to the platform."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """One row of `worker_processes`. Times are on the database's clock."""

    name: str
    """Host, process id and start, so that no two processes have the same name."""
    host: str
    pid: int
    started_at: datetime
    last_tick_at: datetime | None
    """When the last tick ended without an error; None if none has yet."""
    written_at: datetime
    clock_offset_seconds: float
    """The host's wall clock minus the database's."""
    accounts: tuple[str, ...] | None
    """The accounts in the process's settings. The process polls no others. None if its release does not write them."""
    broker_asked_at: datetime | None = None
    """When the process last asked the broker for a sign of life; None if it has not yet, or its release never asks."""
    broker_answered_at: datetime | None = None
    """When the broker last answered the process; None if it never has."""
    last_beat_at: datetime | None = None
    """When the process last received a message that requests a tick; None if never.

    Beat sends one such message each period, and any one of the processes receives it.
    """
    database_identity: str | None = None
    """The `DatabaseIdentity` of the row's database, as text; None if the process's release does not write it."""
    hanging_since: datetime | None = None
    """If a part of the process hangs: when that part made its last step. None if nothing hangs.

    A process in which a part hangs soon ends itself.
    """
    database_full_at: datetime | None = None
    """When a write of the process last failed because the database's disk was full; None if no write has.

    A row of `worker_processes` is small, so it can often still be written to a full disk.
    """
    version: str | None = None
    """The version of the program in the process; None if its release does not write it."""
    orders_waiting: int | None = None
    """How many messages waited in the queue of orders when the process last asked the broker; None if not known."""
    ticks_waiting: int | None = None
    """How many messages waited in the queue of ticks when the process last asked the broker; None if not known."""
    queue_empty_at: datetime | None = None
    """When the process last found the queue of orders empty; None if it never did."""
    taken_in_at: datetime | None = None
    """When a task in the process last committed its work; None if no task has. A task that failed, to be tried again,
    does not count."""
    other_deployment_at: datetime | None = None
    """When the process last found that another deployment uses the same queues.

    None if it never found one, or if it cannot find out.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class PollingProcess:
    """A worker process that takes slots: it ticks, and no part of it hangs."""

    name: str
    host: str
    accounts: frozenset[str]
    """The accounts in the process's settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOff:
    """A row of `cut_off_hosts`: a host that cannot connect to the platform, or is refused by it for one account.

    Times are on the database's clock.
    """

    host: str
    account: str = NOT_CONNECTED
    """The account that the host is refused for; `NOT_CONNECTED` if the host cannot connect."""
    since: datetime | None = None
    """When the host was cut off; None while its refusals are counted but do not suffice yet."""
    why: str = ""
    """Why the host's last query failed."""
    probe_at: datetime
    """When the host may try again after a refusal, or although it is cut off."""
    tries: int = 0
    """Before the host is cut off, the number of refusals. Afterwards, the number of failed tries since the cut-off."""
    answers_before: int = 0
    """How many answers all hosts together had received for the account at the time of the first refusal.

    Once the host is cut off, each failed try updates this number.
    """
    is_answered: bool = False
    """Whether the host has received an answer for another account since its last refusal."""
    credentials: str = ""
    """The digest of the credentials that the host uses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingCount:
    """How many of an account's pending orders are in one lane and are polled by one id kind."""

    lane: Lane
    id_kind: IdKind
    pending: int
    due: int = 0
    never_polled: int = 0
    """How many of the pending orders have not been polled by any answered query."""
    oldest_due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingOrders:
    """The pending orders of an account."""

    counts: Sequence[PendingCount] = ()

    @property
    def pending(self) -> int:
        """The number of pending orders."""
        return sum(count.pending for count in self.counts)

    @property
    def due(self) -> int:
        """The number of pending orders that may be polled now."""
        return sum(count.due for count in self.counts)

    @property
    def never_polled(self) -> int:
        """The number of pending orders that no answered query has polled yet."""
        return sum(count.never_polled for count in self.counts)

    @property
    def oldest_due_at(self) -> datetime | None:
        """When the order that has been due for longest became due; None if no order is due."""
        return min((count.oldest_due_at for count in self.counts if count.oldest_due_at is not None), default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PastQuery:
    """A row of `platform_queries`, with the columns that people watch."""

    sent_at: datetime
    work: str
    order_count: int
    outcome: str
    status_msg: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationCounts:
    """The notifications of an account that its billing system has not received."""

    pending: int = 0
    oldest_changed_at: datetime | None = None
    """When the order of the oldest pending notification changed."""
    queued_since: datetime | None = None
    """The earliest time since which a pending notification has waited; None if none is pending.

    A wait starts when the order changes, when the notification is resent, or when it is refused for the first time.
    """
    waits_since: datetime | None = None
    """The earliest time at which a pending notification is or was due; None if none is pending.

    `watched_notifications` also sets None, except for accounts whose notifications have been due for five minutes and
    may be sent, although no process sends them.
    """
    gave_up: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountOverview(PendingOrders):
    """An overview of one account.

    In counts by source or reason, the keys are the words that the database stores. The key None is for orders without a
    reason.
    """

    account: str
    account_sid: str | None
    """The account's SID; None if the settings do not name the account."""
    state: AccountState
    in_flight: int = 0
    """The number of orders in queries that are under way."""
    settled_hour: Mapping[str, int] = field(default_factory=dict)
    """Orders settled in the last hour, by source."""
    settled_day: Mapping[str, int] = field(default_factory=dict)
    """Orders settled in the last 24 hours, by source."""
    attention: Mapping[str, int] = field(default_factory=dict)
    """Orders with attention, by reason, whatever their state."""
    unresolved: Mapping[str | None, int] = field(default_factory=dict)
    """Unresolved orders, by reason. Unresolved orders with a reason are also counted in `attention`."""
    last_query_at: datetime | None = None
    queries: Sequence[PastQuery] = ()
    """The last queries, the newest first."""
    lost_share: float | None = None
    """The share of settled orders whose callback never comes, as learned from earlier orders; None if not known."""

    @property
    def batches(self) -> list[int]:
        """The sizes of the batches among the last queries, the newest first."""
        return [query.order_count for query in self.queries if query.work == Work.BATCH]

    @property
    def needs_a_person(self) -> int:
        """The number of orders with attention, plus the number of unresolved orders without attention."""
        return sum(self.attention.values()) + self.unresolved.get(None, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """The whole deployment at the time `now`, which is on the database's clock."""

    now: datetime
    accounts: Sequence[AccountOverview] = ()
    workers: Sequence[WorkerRow] = ()
    endpoints: Sequence[Endpoint] = ()
    notifications: Mapping[str, NotificationCounts] = field(default_factory=dict)
    """The notifications that were not received, by account."""
    database: DatabaseChanges | None = None
    """What the slots of the configured accounts show about changes of the database; None if the slots were not read."""
    cut_off: Sequence[CutOff] = ()


class Level(IntEnum):
    """The severity of a finding, and the exit status of `reconciler status --check`."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


class FindingKind(StrEnum):
    """The kinds of findings. A value is a stable name; if the name has several cases, a point and the case follow."""

    NO_WORKER = "no_tick.none"
    WORKERS_AWAY = "no_tick.away"
    WORKER_KILLED = "no_tick.killed"
    """No process runs any more, and the last one did not shut down normally."""
    NO_TICK = "no_tick.late"
    HANGS = "no_tick.hangs"
    NEVER_TICKED = "no_tick.never"
    NO_BROKER = "no_broker.all"
    NO_BROKER_SOMEWHERE = "no_broker.some"
    NO_BEAT = "no_beat"
    DATABASE_FULL = "database_full"
    NOTHING_TAKEN_IN = "nothing_taken_in"
    """Messages wait at the broker, but no task commits its work."""
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
    """More orders wait for a query of their own than can be polled in a day."""
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
        """The name of the finding for programs, without the case."""
        return self.value.partition(".")[0]


class BackOffReason(StrEnum):
    """Why an account backs off, if its last query does not show the reason."""

    CONFIGURATION_REFUSED = "configuration_refused"
    TOO_FREQUENT = "too_frequent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A fact about the deployment to report to people."""

    kind: FindingKind
    level: Level = Level.WARNING
    account: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    """The values in the finding's sentence: durations, counts, names."""

    @property
    def name(self) -> str:
        """The name of the finding for programs."""
        return self.kind.stable_name
