"""The tables. Names are a contract with billing systems, operators and dashboards: change none lightly.

There are no foreign keys: orders leave for the archive, and the queries that polled them stay. All tables stand in
one file, longer than others: it is a list without logic, which is read beside the migrations.
"""

from datetime import datetime
from decimal import Decimal
from typing import cast

from sqlalchemy import BigInteger as BigInt
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from worker.database.column_types import Amount, LongText, OrderId, RowId, StatusNumber, UtcDateTime, text_enum
from worker.domain.records.incoming import Trust
from worker.domain.records.notifications import EventType, NotificationState, TransportKind
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, Lane, OrderState, Source
from worker.domain.records.reports import IdKind, TrafficStatus

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}

# Ids compare byte by byte, and texts hold any character.
MYSQL_OPTIONS = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
MARIADB_OPTIONS = {name.replace("mysql_", "mariadb_"): value for name, value in MYSQL_OPTIONS.items()}
TABLE_OPTIONS = {**MYSQL_OPTIONS, **MARIADB_OPTIONS}
# A large table is vacuumed long before a fifth of it is dead; rows that every pass updates find room in their page
# (docs/performance.md). Other databases have no such settings.
OFTEN_VACUUMED = {
    "postgresql_with": {
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_analyze_scale_factor": "0.02",
        "vacuum_index_cleanup": "on",
    }
}
HALF_FULL = {"postgresql_with": {"fillfactor": "50"}}

PENDING = sql("state = 'pending'")
# The same rows in other words. PostgreSQL drops a condition that the index itself guarantees from the search, and with
# it a leading column: each read would go through the whole index.
NOT_DONE = sql("state NOT IN ('succeeded', 'failed', 'unresolved', 'cancelled')")
NOT_PENDING = sql("state <> 'pending'")
CHECKED = sql("check_requested_at IS NOT NULL")
SETTLED = sql("settled_at IS NOT NULL")
SHOWN = sql("attention IS NOT NULL")
UNRESOLVED = sql("state = 'unresolved'")
GROUPED = sql("suspect_group IS NOT NULL")
NOT_SENT = sql("state NOT IN ('delivered', 'gave_up')")
DELIVERED = sql("delivered_at IS NOT NULL")
GAVE_UP = sql("state = 'gave_up'")
NO_COUNT = "0"
"""A count in rows and archive records that are older than its column."""


class Base(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(naming_convention=NAMING)


def table_of(model: type[Base]) -> Table:
    """The table of a model: statements in bulk are written against tables."""
    return cast(Table, model.__table__)


class RechargeOrder(Base):
    """An order and what is known of it; `worker.domain.records.orders.Order` documents each field."""

    __tablename__ = "recharge_orders"
    __table_args__ = (
        # The id goes first: a planner that knows nothing of the table yet might read a whole account otherwise.
        UniqueConstraint("request_id", "account"),
        UniqueConstraint("custom_parm", "account"),
        CheckConstraint("request_id IS NOT NULL OR custom_parm IS NOT NULL", name="has_an_id"),
        CheckConstraint("traffic_sts IN (-1, 0, 1)", name="traffic_sts_known"),
        CheckConstraint("state NOT IN ('succeeded', 'failed') OR settled_at IS NOT NULL", name="settled_has_time"),
        # Due orders by index range: one read of the first rows of each. Only pending rows are polled; MariaDB has no
        # partial indexes, so the state is a column of the index as well.
        Index(
            "ix_recharge_orders_due",
            *("account", "state", "lane", "id_kind", "age_bucket", "due_at"),
            postgresql_where=NOT_DONE,
            sqlite_where=PENDING,
        ),
        Index(
            "ix_recharge_orders_checked",
            "account",
            "check_requested_at",
            postgresql_where=CHECKED,
            sqlite_where=CHECKED,
        ),
        # Pending orders long past the age limit, of any account, that are not flagged yet. Not partial on SQLite, which
        # drops a condition that a partial index guarantees from the search, and then sorts.
        Index("ix_recharge_orders_overdue", *("state", "attention", "submitted_at"), postgresql_where=NOT_DONE),
        Index("ix_recharge_orders_suspect_group", "suspect_group", postgresql_where=GROUPED, sqlite_where=GROUPED),
        # The billing system reads what has changed since it last read.
        Index("ix_recharge_orders_changed", "updated_at", postgresql_where=NOT_PENDING, sqlite_where=NOT_PENDING),
        # What the command line finds and counts by.
        Index("ix_recharge_orders_mobile", "mobile"),
        Index("ix_recharge_orders_submitted", "submitted_at", "id"),
        Index(
            "ix_recharge_orders_settled",
            *("settled_at", "account", "state", "settled_by"),
            postgresql_where=SETTLED,
            sqlite_where=SETTLED,
        ),
        Index("ix_recharge_orders_attention", "attention", "id", postgresql_where=SHOWN, sqlite_where=SHOWN),
        Index(
            "ix_recharge_orders_unresolved",
            *("state", "account", "submitted_at"),
            postgresql_where=UNRESOLVED,
            sqlite_where=UNRESOLVED,
        ),
        {**TABLE_OPTIONS, **OFTEN_VACUUMED},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    account: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(OrderId)
    custom_parm: Mapped[str | None] = mapped_column(OrderId)
    mobile: Mapped[str | None] = mapped_column(String(11))
    expected_amount: Mapped[Decimal | None] = mapped_column(Amount)
    state: Mapped[OrderState] = mapped_column(text_enum(OrderState, 16))
    traffic_sts: Mapped[TrafficStatus | None] = mapped_column(StatusNumber)
    remark: Mapped[str | None] = mapped_column(LongText)
    ori_amount: Mapped[Decimal | None] = mapped_column(Amount)
    settled_by: Mapped[Source | None] = mapped_column(text_enum(Source, 16))
    attention: Mapped[Attention | None] = mapped_column(text_enum(Attention, 32))
    submitted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    queried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    query_count: Mapped[int] = mapped_column(Integer)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

    id_kind: Mapped[IdKind] = mapped_column(text_enum(IdKind, 16))
    lane: Mapped[Lane] = mapped_column(text_enum(Lane, 16))
    age_bucket: Mapped[int] = mapped_column(SmallInteger)
    """0: no answered query polled it yet; 1 to 23: the bucket of its age at the last poll (outside lane `batch` only
    1)."""
    suspect_group: Mapped[int | None] = mapped_column(BigInt)
    lease_token: Mapped[str | None] = mapped_column(String(32))
    check_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    absences: Mapped[int] = mapped_column(Integer)
    absence_mark: Mapped[int] = mapped_column(BigInt)
    batch_failures: Mapped[int] = mapped_column(Integer)
    failures_alone: Mapped[int] = mapped_column(Integer)
    failure_mark: Mapped[int] = mapped_column(BigInt)
    unavailable_failures: Mapped[int] = mapped_column(Integer, server_default=NO_COUNT)
    failure_mark_any: Mapped[int] = mapped_column(BigInt, server_default=NO_COUNT)
    denials: Mapped[int] = mapped_column(Integer, server_default=NO_COUNT)
    first_denied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    denial_mark: Mapped[int] = mapped_column(BigInt, server_default=NO_COUNT)
    reopened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When an operator made it pending again; the age limit counts from then on."""
    dismissed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When an operator cleared `too_old` of it: it is not flagged as overdue again."""
    version: Mapped[int] = mapped_column(BigInt, server_default=NO_COUNT)
    """Grows with every change that is saved; 0 where nothing has changed since revision 0009."""
    callback_check_after: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Before then no callback that is only a hint makes it due once more."""


class PlatformQuery(Base):
    """A row per grant: which ids were polled, how the query ended, what it changed."""

    __tablename__ = "platform_queries"
    __table_args__ = (Index("ix_platform_queries_account", "account", "id"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    account: Mapped[str] = mapped_column(String(64))
    account_sid: Mapped[str] = mapped_column(String(64))
    slot: Mapped[int] = mapped_column(SmallInteger)
    work: Mapped[str] = mapped_column(String(16))
    id_kind: Mapped[IdKind] = mapped_column(text_enum(IdKind, 16))
    order_count: Mapped[int] = mapped_column(Integer)
    sent_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(16))
    http_status: Mapped[int | None] = mapped_column(Integer)
    status_code: Mapped[str | None] = mapped_column(LongText)
    status_msg: Mapped[str | None] = mapped_column(LongText)
    """The platform's words; where there are none, why the query failed, in ours."""
    settled_count: Mapped[int | None] = mapped_column(Integer)
    pending_count: Mapped[int | None] = mapped_column(Integer)
    absent_count: Mapped[int | None] = mapped_column(Integer)
    answer_excerpt: Mapped[str | None] = mapped_column(LongText)
    polled_ids: Mapped[str] = mapped_column(LongText)
    """Joined by commas, which no id contains."""
    absent_ids: Mapped[str | None] = mapped_column(LongText)
    added_items: Mapped[str | None] = mapped_column(LongText)
    """What the answer said about ids that were not polled, in its own words."""


class OrderEventRow(Base):
    """Append only: each change of an order that a person may want to know."""

    __tablename__ = "order_events"
    __table_args__ = (Index("ix_order_events_order_id", "order_id", "id"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    order_id: Mapped[int] = mapped_column(BigInt)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[EventKind] = mapped_column(text_enum(EventKind, 32))
    source: Mapped[Source] = mapped_column(text_enum(Source, 16))
    query_id: Mapped[int | None] = mapped_column(BigInt)
    from_state: Mapped[OrderState | None] = mapped_column(text_enum(OrderState, 16))
    to_state: Mapped[OrderState | None] = mapped_column(text_enum(OrderState, 16))
    traffic_sts: Mapped[str | None] = mapped_column(LongText)
    remark: Mapped[str | None] = mapped_column(LongText)
    ori_amount: Mapped[str | None] = mapped_column(LongText)
    detail: Mapped[str | None] = mapped_column(LongText)
    actor: Mapped[str | None] = mapped_column(String(64))
    """Who did it, where it was an operator."""
    repeats: Mapped[int | None] = mapped_column(Integer)
    """How often a callback over HTTP has said the same again; null for never."""


class ArchivedOrder(Base):
    """A settled order that was moved out of the other tables; `worker.operations.archive` moves them."""

    __tablename__ = "archived_orders"
    __table_args__ = (
        UniqueConstraint("request_id", "account"),
        UniqueConstraint("custom_parm", "account"),
        Index("ix_archived_orders_mobile", "mobile"),
        Index("ix_archived_orders_submitted", "submitted_at", "id"),
        Index("ix_archived_orders_settled", "settled_at", "id"),
        TABLE_OPTIONS,
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    """The order's."""
    account: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(OrderId)
    custom_parm: Mapped[str | None] = mapped_column(OrderId)
    state: Mapped[OrderState] = mapped_column(text_enum(OrderState, 16))
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    archived_at: Mapped[datetime] = mapped_column(UtcDateTime)
    record: Mapped[str] = mapped_column(LongText)
    """JSON: its row of `recharge_orders` as `order`, its rows of `order_events` as `events`; amounts are decimal text,
    times ISO 8601 with an offset."""
    mobile: Mapped[str | None] = mapped_column(String(11))
    submitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class QueryBudget(Base):
    """A row per slot of an account SID: when the next query may be sent, and what is in flight."""

    __tablename__ = "query_budgets"
    __table_args__ = (UniqueConstraint("account_sid", "slot"), {**TABLE_OPTIONS, **HALF_FULL})

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    account_sid: Mapped[str] = mapped_column(String(64))
    slot: Mapped[int] = mapped_column(SmallInteger)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """By the database's clock."""
    boot_id: Mapped[str] = mapped_column(String(64))
    boot_due_us: Mapped[int] = mapped_column(BigInt)
    """By the boot clock of the host that wrote the row, in microseconds."""
    wait_us: Mapped[int] = mapped_column(BigInt)
    """The length of that wait, in microseconds."""
    token: Mapped[str] = mapped_column(String(32))
    in_flight_query_id: Mapped[int | None] = mapped_column(BigInt)
    last_account: Mapped[str | None] = mapped_column(String(64))
    """Whose turn it was: accounts that share the SID take turns."""
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    window_us: Mapped[int | None] = mapped_column(BigInt)
    """The window that the row was written with, in microseconds; null where a release before 0005 wrote it."""


class AccountStateRow(Base):
    """A row per account; `worker.domain.records.accounts.AccountState` documents each field."""

    __tablename__ = "account_states"
    __table_args__ = ({**TABLE_OPTIONS, **HALF_FULL},)

    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    backoff_level: Mapped[int] = mapped_column(Integer)
    backoff_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    backoff_seconds: Mapped[float] = mapped_column(Double)
    refusals_in_row: Mapped[int] = mapped_column(Integer)
    configuration_refused: Mapped[bool] = mapped_column(Boolean)
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    echoes_custom_parm: Mapped[bool] = mapped_column(Boolean)
    answered_with_items: Mapped[int] = mapped_column(BigInt)
    answered_by_request_id: Mapped[int] = mapped_column(BigInt)
    answered_by_custom_parm: Mapped[int] = mapped_column(BigInt)
    turn: Mapped[int] = mapped_column(BigInt)
    batches: Mapped[int] = mapped_column(BigInt)
    batches_without_request_id: Mapped[int] = mapped_column(BigInt)
    batches_without_custom_parm: Mapped[int] = mapped_column(BigInt)
    one_item_streak: Mapped[int] = mapped_column(Integer)
    one_item_since: Mapped[int | None] = mapped_column(BigInt)
    one_item_mode: Mapped[bool] = mapped_column(Boolean)
    batch_retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    echo_endings: Mapped[int] = mapped_column(Integer, server_default=NO_COUNT)
    empty_echo_batches: Mapped[int] = mapped_column(Integer, server_default=NO_COUNT)
    echo_retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answered_with_belief: Mapped[int] = mapped_column(BigInt, server_default=NO_COUNT)
    suspect_turns: Mapped[int] = mapped_column(BigInt, server_default=NO_COUNT)
    failures_in_row: Mapped[int] = mapped_column(Integer, server_default=NO_COUNT)
    failing_since: Mapped[int | None] = mapped_column(BigInt)
    outage_from: Mapped[int | None] = mapped_column(BigInt)
    outage_until: Mapped[int | None] = mapped_column(BigInt)
    answers_in_row: Mapped[int] = mapped_column(Integer, server_default=NO_COUNT)
    suspects_returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_by: Mapped[str | None] = mapped_column(String(64))
    pause_reason: Mapped[str | None] = mapped_column(LongText)


class PollScheduleRow(Base):
    """A row per account with observations: what was learned from them, and the poll schedule that follows."""

    __tablename__ = "poll_schedules"
    __table_args__ = (TABLE_OPTIONS,)

    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    learned: Mapped[str] = mapped_column(LongText)
    """JSON; `worker.domain.scheduling.stored_json` reads both texts."""
    schedule: Mapped[str] = mapped_column(LongText)
    computed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SettlementObservation(Base):
    """What one transaction observed of when orders settle: kept until it is learned from."""

    __tablename__ = "settlement_observations"
    __table_args__ = (Index("ix_settlement_observations_account", "account", "id"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    account: Mapped[str] = mapped_column(String(64))
    observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    observations: Mapped[str] = mapped_column(LongText)
    """JSON."""


class RejectedOrder(Base):
    """What was refused, with its errors: nothing that came in is lost."""

    __tablename__ = "rejected_orders"
    __table_args__ = (
        Index("ix_rejected_orders_received_at", "received_at"),
        Index("uq_rejected_orders_digest", "digest", unique=True),
        TABLE_OPTIONS,
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    source: Mapped[str] = mapped_column(String(32))
    """The task or command that sent it."""
    payload: Mapped[str] = mapped_column(LongText)
    """JSON, as it came."""
    errors: Mapped[str] = mapped_column(LongText)
    """One a line."""
    digest: Mapped[str | None] = mapped_column(String(64))
    """Of a callback over HTTP: by it the same one is found when it comes again."""
    repeats: Mapped[int | None] = mapped_column(Integer)
    """How often the same callback has come again over HTTP; null for never."""


class UnmatchedCallback(Base):
    """A callback whose order is not known yet."""

    __tablename__ = "unmatched_callbacks"
    __table_args__ = (
        Index("ix_unmatched_callbacks_request_id", "request_id", "account"),
        Index("ix_unmatched_callbacks_custom_parm", "custom_parm", "account"),
        Index("ix_unmatched_callbacks_received_at", "received_at"),
        TABLE_OPTIONS,
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    account: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))
    custom_parm: Mapped[str | None] = mapped_column(String(64))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    payload: Mapped[str] = mapped_column(LongText)
    """JSON, as it came."""
    trust: Mapped[Trust] = mapped_column(text_enum(Trust, 16), server_default=Trust.SETTLE.value)
    """What it may do to its order once that is known."""


class OperatorAct(Base):
    """Append only: what an operator did to an account, or to all of them; and a row for the orders of one account that
    one transaction has changed, each of which has the act among its events as well."""

    __tablename__ = "operator_acts"
    __table_args__ = (Index("ix_operator_acts_account", "account", "id"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(64))
    act: Mapped[str] = mapped_column(String(32))
    account: Mapped[str | None] = mapped_column(String(64))
    """Null: all accounts."""
    reason: Mapped[str | None] = mapped_column(LongText)
    detail: Mapped[str | None] = mapped_column(LongText)
    """Which orders, by their names; until when an account is paused, or slots are held."""


class WorkerProcess(Base):
    """A row per worker process, which it writes by its own timer; one that is not written any more is deleted."""

    __tablename__ = "worker_processes"
    __table_args__ = ({**TABLE_OPTIONS, **HALF_FULL},)

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    """Host, process id and start: another process never has it."""
    host: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_tick_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """By the database's clock; null before the first tick has ended."""
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)
    clock_offset_seconds: Mapped[float] = mapped_column(Double)
    """The host's wall clock minus the database's."""
    accounts: Mapped[str | None] = mapped_column(LongText)
    """The names of the accounts in its settings, joined by commas; null where a release before 0011 wrote the row."""


class NotificationRow(Base):
    """What is sent to a billing system about an order: `worker.domain.records.notifications` documents each field."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("event_id"),
        # What may be sent to an account's endpoint, in its order.
        Index(
            "ix_notifications_due",
            *("account", "state", "rank", "due_at", "id"),
            postgresql_where=NOT_SENT,
            sqlite_where=PENDING,
        ),
        Index("ix_notifications_order", "order_id", "id"),
        Index("ix_notifications_delivered", "delivered_at", postgresql_where=DELIVERED, sqlite_where=DELIVERED),
        Index("ix_notifications_gave_up", *("state", "account", "id"), postgresql_where=GAVE_UP, sqlite_where=GAVE_UP),
        Index("ix_notifications_changed", "changed_at", "id"),
        {**TABLE_OPTIONS, **OFTEN_VACUUMED},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    event_id: Mapped[str] = mapped_column(String(40))
    account: Mapped[str] = mapped_column(String(64))
    order_id: Mapped[int] = mapped_column(BigInt)
    type: Mapped[EventType] = mapped_column(text_enum(EventType, 32))
    version: Mapped[int] = mapped_column(BigInt)
    rank: Mapped[int] = mapped_column(SmallInteger)
    body: Mapped[str] = mapped_column(LongText)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[NotificationState] = mapped_column(text_enum(NotificationState, 16))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(Integer)
    lease_token: Mapped[str | None] = mapped_column(String(32))
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(32))
    http_status: Mapped[int | None] = mapped_column(Integer)
    answer: Mapped[str | None] = mapped_column(LongText)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class NotifyEndpointRow(Base):
    """A row per account that is notified of its orders; workers enter it at their start."""

    __tablename__ = "notify_endpoints"
    __table_args__ = ({**TABLE_OPTIONS, **HALF_FULL},)

    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    transport: Mapped[TransportKind] = mapped_column(text_enum(TransportKind, 16))
    target_digest: Mapped[str] = mapped_column(String(64))
    shown: Mapped[str] = mapped_column(String(255))
    events: Mapped[str | None] = mapped_column(LongText)
    rest_level: Mapped[int] = mapped_column(Integer)
    rest_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rest_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_in_row: Mapped[str | None] = mapped_column(LongText)
    last_failed_id: Mapped[int | None] = mapped_column(BigInt)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_by: Mapped[str | None] = mapped_column(String(64))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
