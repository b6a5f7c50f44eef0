"""The database's tables. Billing systems, operators and dashboards rely on the names of tables and columns: avoid
changing a name.

There are no foreign keys, because old orders are deleted while the queries that polled them stay. All tables are in
this one file, although it is long, because it is a list without logic and is read together with the migrations.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger as BigInt
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    TextClause,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy import text as sql
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from worker.database.column_types import Amount, LongText, OrderId, RowId, StatusNumber, UtcDateTime, text_enum
from worker.domain.records.incoming import Trust
from worker.domain.records.notifications import EventType, NotificationState, TransportKind
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, IdKind, Lane, OrderState, Source

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}

# On MySQL and MariaDB: with utf8mb4_bin ids are compared byte by byte, and with utf8mb4 texts can contain any
# character.
TABLE_OPTIONS: Mapping[str, Any] = {
    f"{kind}_{option}": value
    for kind in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}
# Settings of PostgreSQL only. With OFTEN_VACUUMED, a large table is vacuumed long before a fifth of its rows are dead.
# With HALF_FULL, an update of a row finds free space in the row's page (docs/performance.md).
OFTEN_VACUUMED: Mapping[str, Any] = {
    "postgresql_with": {
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_analyze_scale_factor": "0.02",
        "vacuum_index_cleanup": "on",
    }
}
HALF_FULL: Mapping[str, Any] = {"postgresql_with": {"fillfactor": "50"}}
# Once the row with the highest id is deleted, SQLite gives its id to the next row. A stale page or command that names
# the deleted row would then act on the new row. A table does not need this option if its row with the highest id is
# never deleted, or if no page names its rows.
NEVER_REUSED_IDS: Mapping[str, Any] = {"sqlite_autoincrement": True}

PENDING = sql("state = 'pending'")
# Selects the same rows as PENDING, by another condition. PostgreSQL drops from a search any condition that a partial
# index guarantees. If an index were limited by `state = 'pending'`, the search would lose the condition on the index's
# column `state`, and each read would go through the whole index.
NOT_DONE = sql("state NOT IN ('succeeded', 'failed', 'unresolved', 'cancelled')")
NOT_PENDING = sql("state <> 'pending'")
CHECKED = sql("check_requested_at IS NOT NULL")
SETTLED = sql("settled_at IS NOT NULL")
SHOWN = sql("attention IS NOT NULL")
UNRESOLVED = sql("state = 'unresolved'")
NOT_SUCCEEDED = sql("state <> 'succeeded'")
GROUPED = sql("suspect_group IS NOT NULL")
NOT_SENT = sql("state NOT IN ('delivered', 'gave_up')")
DELIVERED = sql("delivered_at IS NOT NULL")
GAVE_UP = sql("state = 'gave_up'")
# Literals, not parameters: PostgreSQL may make one plan for all values of a parameter, and that plan could not use the
# partial indexes.
PENDING_STATE: ColumnElement[str] = literal_column("'pending'")
UNRESOLVED_STATE: ColumnElement[str] = literal_column("'unresolved'")
NO_COUNT = "0"
"""The server default 0 or false, which rows that are older than the column get."""
YES = "1"

_Kind = TypeEngine[Any] | type[TypeEngine[Any]]

METADATA = MetaData(naming_convention=NAMING)
"""All tables of the project."""


def _required(name: str, kind: _Kind, *, server_default: str | TextClause | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=server_default)


def _optional(name: str, kind: _Kind) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _partial(name: str, *columns: str, rows: TextClause, sqlite_rows: TextClause | None = None) -> Index:
    """Make an index of only the rows that meet the condition `rows`; on MariaDB, which has no partial indexes, an index
    of all rows. On SQLite the condition is `sqlite_rows`, if it is given."""
    return Index(name, *columns, postgresql_where=rows, sqlite_where=rows if sqlite_rows is None else sqlite_rows)


def _table(name: str, *parts: SchemaItem, **options: Any) -> Table:
    return Table(name, METADATA, *parts, **TABLE_OPTIONS, **options)


ORDERS = _table(
    "recharge_orders",
    Column("id", RowId, primary_key=True),
    _required("account", String(64)),
    _optional("request_id", OrderId),
    _optional("custom_parm", OrderId),
    _optional("mobile", String(11)),
    _optional("expected_amount", Amount),
    _required("state", text_enum(OrderState, 16)),
    _optional("traffic_sts", StatusNumber),
    _optional("remark", LongText),
    _optional("ori_amount", Amount),
    _optional("settled_by", text_enum(Source, 16)),
    _optional("attention", text_enum(Attention, 32)),
    _required("submitted_at", UtcDateTime),
    _required("due_at", UtcDateTime),
    _optional("queried_at", UtcDateTime),
    _required("query_count", Integer),
    _optional("settled_at", UtcDateTime),
    _required("created_at", UtcDateTime),
    _required("updated_at", UtcDateTime),
    _required("id_kind", text_enum(IdKind, 16)),
    _required("lane", text_enum(Lane, 16)),
    # 0 until an answered query has polled the order; then 1 to 23, the bucket of the order's age at its last poll.
    # Lanes other than `batch` use only 0 and 1.
    _required("age_bucket", SmallInteger),
    _optional("suspect_group", BigInt),
    _optional("lease_token", String(32)),
    _optional("check_requested_at", UtcDateTime),
    _required("absences", Integer),
    _required("absence_mark", BigInt),
    _required("batch_failures", Integer),
    _required("failures_alone", Integer),
    _required("failure_mark", BigInt),
    _required("unavailable_failures", Integer, server_default=NO_COUNT),
    _required("failure_mark_any", BigInt, server_default=NO_COUNT),
    _required("denials", Integer, server_default=NO_COUNT),
    _optional("first_denied_at", UtcDateTime),
    _required("denial_mark", BigInt, server_default=NO_COUNT),
    # When an operator made the order pending again. The age limit counts from this time on.
    _optional("reopened_at", UtcDateTime),
    # When an operator cleared the order's attention `too_old`. The order is not flagged as overdue again.
    _optional("dismissed_at", UtcDateTime),
    # Increases with every saved change of the order; 0 if the order has not changed since revision 0009.
    _required("version", BigInt, server_default=NO_COUNT),
    # Before this time, a callback that is only a hint does not make the order due again.
    _optional("callback_check_after", UtcDateTime),
    # For a failed order: whether `ori_amount` is not a charge, but only the order's price, which the platform repeats.
    _required("amount_is_price", Boolean, server_default=NO_COUNT),
    # The id is the first column of these two indexes. Otherwise the database, before it has statistics of the table,
    # might plan to read all orders of an account.
    UniqueConstraint("request_id", "account"),
    UniqueConstraint("custom_parm", "account"),
    CheckConstraint("request_id IS NOT NULL OR custom_parm IS NOT NULL", name="has_an_id"),
    CheckConstraint("traffic_sts IN (-1, 0, 1)", name="traffic_sts_known"),
    CheckConstraint("state NOT IN ('succeeded', 'failed') OR settled_at IS NOT NULL", name="settled_has_time"),
    # Finds due orders: one read for each lane, kind of id and age bucket takes the first rows of that range of the
    # index. Only pending orders are polled. MariaDB has no partial indexes, so the state is one of the columns.
    _partial(
        "ix_recharge_orders_due",
        *("account", "state", "lane", "id_kind", "age_bucket", "due_at"),
        rows=NOT_DONE,
        sqlite_rows=PENDING,
    ),
    _partial("ix_recharge_orders_checked", "account", "check_requested_at", rows=CHECKED),
    # Finds pending orders, of all accounts, that are long past the age limit and not flagged yet. On SQLite this index
    # is not partial: SQLite would drop from the search the condition that the partial index guarantees, and would then
    # have to sort the rows.
    Index("ix_recharge_orders_overdue", *("state", "attention", "submitted_at"), postgresql_where=NOT_DONE),
    _partial("ix_recharge_orders_suspect_group", "suspect_group", rows=GROUPED),
    # For the billing system, which reads the orders that have changed since its last read.
    _partial("ix_recharge_orders_changed", "updated_at", rows=NOT_PENDING),
    # Two indexes for the command line's searches and counts.
    Index("ix_recharge_orders_mobile", "mobile"),
    Index("ix_recharge_orders_submitted", "submitted_at", "id"),
    _partial("ix_recharge_orders_results", "settled_at", "id", "account", "state", "settled_by", rows=SETTLED),
    # Finds the orders that need a person for a given reason, sorted as the lists of orders are.
    _partial("ix_recharge_orders_todo", "attention", "submitted_at", "id", rows=SHOWN),
    # Finds the orders of a state, sorted as the lists of orders are. On PostgreSQL this index omits succeeded orders:
    # most orders have succeeded, so the index on `submitted_at` finds them soon enough. On SQLite this index has all
    # orders, for the reason given at the index of overdue orders.
    Index("ix_recharge_orders_states", *("state", "submitted_at", "id", "account"), postgresql_where=NOT_SUCCEEDED),
    **OFTEN_VACUUMED,
)
"""A row per order; `worker.domain.records.orders.Order` documents each field."""

QUERIES = _table(
    "platform_queries",
    Column("id", RowId, primary_key=True),
    _required("account", String(64)),
    _required("account_sid", String(64)),
    _required("slot", SmallInteger),
    _required("work", String(16)),
    _required("id_kind", text_enum(IdKind, 16)),
    _required("order_count", Integer),
    _required("sent_at", UtcDateTime),
    _optional("answered_at", UtcDateTime),
    _required("outcome", String(16)),
    _optional("http_status", Integer),
    _optional("status_code", LongText),
    # The platform's words. If it sent none, our own reason why the query failed.
    _optional("status_msg", LongText),
    _optional("settled_count", Integer),
    _optional("pending_count", Integer),
    _optional("absent_count", Integer),
    _optional("answer_excerpt", LongText),
    # Ids, joined by commas; no id contains a comma.
    _required("polled_ids", LongText),
    _optional("absent_ids", LongText),
    # The items of the answer that are about ids that the query did not poll, in the platform's words.
    _optional("added_items", LongText),
    # How many of the polled orders were not due yet; null if a release older than revision 0021 wrote the row.
    _optional("spare_count", Integer),
    Index("ix_platform_queries_account", "account", "id"),
)
"""A row per query that was granted: which ids it polled, how it ended, and what its answer changed."""

EVENTS = _table(
    "order_events",
    Column("id", RowId, primary_key=True),
    _required("order_id", BigInt),
    _required("at", UtcDateTime),
    _required("kind", text_enum(EventKind, 32)),
    _required("source", text_enum(Source, 16)),
    _optional("query_id", BigInt),
    _optional("from_state", text_enum(OrderState, 16)),
    _optional("to_state", text_enum(OrderState, 16)),
    _optional("traffic_sts", LongText),
    _optional("remark", LongText),
    _optional("ori_amount", LongText),
    _optional("detail", LongText),
    # The operator who made the change; null if no operator made it.
    _optional("actor", String(64)),
    # How often this event was repeated; null if never.
    _optional("repeats", Integer),
    # The code of the sentence in `detail`, and the sentence's values as JSON. They make it possible to show the
    # sentence in other languages. Both are null if the detail is not a sentence of ours, or if a release older than
    # revision 0022 wrote the row.
    _optional("detail_code", String(32)),
    _optional("detail_values", LongText),
    Index("ix_order_events_order_id", "order_id", "id"),
)
"""A row per change of an order, if a person may want to know about the change. Rows are only added, never changed."""

BUDGETS = _table(
    "query_budgets",
    Column("id", RowId, primary_key=True),
    _required("account_sid", String(64)),
    _required("slot", SmallInteger),
    # When the slot opens, by the database's clock.
    _required("due_at", UtcDateTime),
    _required("boot_id", String(64)),
    # When the slot opens, by the boot clock of the host that wrote the row, in microseconds.
    _required("boot_due_us", BigInt),
    # The length of the wait that ends at `due_at` and `boot_due_us`, in microseconds.
    _required("wait_us", BigInt),
    _required("token", String(32)),
    _optional("in_flight_query_id", BigInt),
    # The account that had the last turn, because accounts that share the SID take turns.
    _optional("last_account", String(64)),
    _required("updated_at", UtcDateTime),
    # The length of the rate limit's window when the row was written, in microseconds; null if a release older than
    # revision 0005 wrote the row.
    _optional("window_us", BigInt),
    # The identity of the database in which the row was written (`worker.database.read_identity`); null if a release
    # older than revision 0019 wrote the row.
    _optional("database_identity", String(255)),
    # The last three times at which workers found the row in another database than the one in which it was written; in
    # UTC, separated by spaces.
    _optional("database_changes", String(128)),
    UniqueConstraint("account_sid", "slot"),
    **HALF_FULL,
)
"""A row per slot of an account SID: when the next query may be sent, and which query is in flight."""

STATES = _table(
    "account_states",
    Column("account", String(64), primary_key=True),
    _required("backoff_level", Integer),
    _optional("backoff_until", UtcDateTime),
    _required("backoff_seconds", Double),
    _required("refusals_in_row", Integer),
    _required("configuration_refused", Boolean),
    _required("echoes_custom_parm", Boolean),
    _required("answered_with_items", BigInt),
    _required("answered_by_request_id", BigInt),
    _required("answered_by_custom_parm", BigInt),
    _required("turn", BigInt),
    _required("batches", BigInt),
    _required("batches_without_request_id", BigInt),
    _required("batches_without_custom_parm", BigInt),
    _required("one_item_streak", Integer),
    _optional("one_item_since", BigInt),
    _required("one_item_mode", Boolean),
    _optional("batch_retry_at", UtcDateTime),
    _required("echo_endings", Integer, server_default=NO_COUNT),
    _required("empty_echo_batches", Integer, server_default=NO_COUNT),
    _optional("echo_retry_at", UtcDateTime),
    _required("answered_with_belief", BigInt, server_default=NO_COUNT),
    _required("suspect_turns", BigInt, server_default=NO_COUNT),
    _required("failures_in_row", Integer, server_default=NO_COUNT),
    _optional("failing_since", BigInt),
    _optional("outage_from", BigInt),
    _optional("outage_until", BigInt),
    _required("answers_in_row", Integer, server_default=NO_COUNT),
    _optional("suspects_returned_at", UtcDateTime),
    _optional("backoff_requested_until", UtcDateTime),
    _required("backoff_unreachable", Boolean, server_default=NO_COUNT),
    # Whether `account_pauses` has rows of the account. A grant reads those rows only if this is true.
    _required("has_pauses", Boolean, server_default=NO_COUNT),
    **HALF_FULL,
)
"""A row per account; `worker.domain.records.accounts.AccountState` documents each field."""

PAUSES = _table(
    "account_pauses",
    Column("id", RowId, primary_key=True),
    _required("account", String(64)),
    _required("paused_at", UtcDateTime),
    _optional("paused_until", UtcDateTime),
    _optional("paused_by", String(64)),
    _optional("pause_reason", LongText),
    # The key of the act, as in `operator_acts`; the text `revision 0032` if a release before that revision wrote the
    # pause.
    _required("act_key", String(32)),
    _required("is_planned", Boolean),
    Index("ix_account_pauses_account", "account"),
)
"""A row per pause of an account; `worker.domain.records.accounts.Pause` documents each field. Only our programs write
these rows, and lock the account's row in `account_states` while they write. The next act on the account or query of the
account deletes the rows of pauses that have ended."""

SCHEDULES = _table(
    "poll_schedules",
    Column("account", String(64), primary_key=True),
    # `learned` and `schedule` are JSON; `worker.domain.scheduling.stored_json` reads them.
    _required("learned", LongText),
    _required("schedule", LongText),
    _required("computed_at", UtcDateTime),
)
"""A row per account with observations of when its orders settle: what was learned from these observations, and the poll
schedule that results from it."""

OBSERVATIONS = _table(
    "settlement_observations",
    Column("id", RowId, primary_key=True),
    _required("account", String(64)),
    _required("observed_at", UtcDateTime),
    # JSON.
    _required("observations", LongText),
    Index("ix_settlement_observations_account", "account", "id"),
)
"""A row per transaction that observed when orders settled. A row is kept until the poll schedule has been computed from
it."""

REJECTED = _table(
    "rejected_orders",
    Column("id", RowId, primary_key=True),
    _required("received_at", UtcDateTime),
    # The task or command that sent the input.
    _required("source", String(32)),
    # JSON, as received.
    _required("payload", LongText),
    # The errors of the input, one per line.
    _required("errors", LongText),
    # For a callback: a digest, by which this row is found when the same callback comes again.
    _optional("digest", String(64)),
    # How often the same callback has come again; null if never.
    _optional("repeats", Integer),
    # The account and the ids of a refused order. Null if the input is not an order, if a given text cannot be an id,
    # and in rows from before revision 0025.
    _optional("account", String(64)),
    _optional("request_id", OrderId),
    _optional("custom_parm", OrderId),
    # True until somebody dismisses the row, or until the row's order is taken in after all.
    _required("is_open", Boolean, server_default=YES),
    # JSON: a list of the errors with their messages and values (`worker/domain/records/sentences.py`). Null in rows
    # from before revision 0035.
    _optional("errors_said", LongText),
    Index("ix_rejected_orders_received_at", "received_at"),
    Index("ix_rejected_orders_open", "is_open", "received_at"),
    Index("ix_rejected_orders_request_id", "request_id", "account"),
    Index("ix_rejected_orders_custom_parm", "custom_parm", "account"),
    Index("uq_rejected_orders_digest", "digest", unique=True),
    **NEVER_REUSED_IDS,
)
"""A row per refused input, with its errors, so that nothing that came in is lost."""

UNMATCHED = _table(
    "unmatched_callbacks",
    Column("id", RowId, primary_key=True),
    _required("account", String(64)),
    _optional("request_id", String(64)),
    _optional("custom_parm", String(64)),
    _required("received_at", UtcDateTime),
    # JSON, as received.
    _required("payload", LongText),
    # How far the callback may change its order, once the order is known.
    _required("trust", text_enum(Trust, 16), server_default=Trust.SETTLE.value),
    # A digest, by which this row is found when the same callback comes again; null if a release older than revision
    # 0017 wrote the row.
    _optional("digest", String(64)),
    # How often the same callback has come again; null if never.
    _optional("repeats", Integer),
    Index("ix_unmatched_callbacks_request_id", "request_id", "account"),
    Index("ix_unmatched_callbacks_custom_parm", "custom_parm", "account"),
    Index("ix_unmatched_callbacks_received_at", "received_at"),
    Index("uq_unmatched_callbacks_digest", "digest", unique=True),
    **NEVER_REUSED_IDS,
)
"""A row per callback whose order is not known yet."""

ACTS = _table(
    "operator_acts",
    Column("id", RowId, primary_key=True),
    _required("at", UtcDateTime),
    _required("actor", String(64)),
    _required("act", String(32)),
    # The account that the act is on; null if it is on all accounts.
    _optional("account", String(64)),
    _optional("reason", LongText),
    # The names of the orders that were changed, or the time until which an account is paused or slots are held.
    _optional("detail", LongText),
    # The code and the values of the sentence in `detail`, as in `order_events`.
    _optional("detail_code", String(32)),
    _optional("detail_values", LongText),
    # A key that all rows of one act share; null if a release older than revision 0024 wrote the row.
    _optional("act_key", String(32)),
    # For an act on orders: how many orders this row is about, and their row ids, separated by spaces.
    _optional("order_count", Integer),
    _optional("order_ids", LongText),
    Index("ix_operator_acts_at", "at", "id"),
    Index("ix_operator_acts_act_key", "act_key", "id"),
)
"""Append only: the acts of operators on accounts and orders.

An act on one account, or on all accounts, has one row. If it needs several transactions, each of them updates the row's
detail.

An act on orders has one row for each account and transaction, about the orders of that account that the transaction
changed. If it has several rows, all have the same `act_key`. Each of these orders also has the act among its events.
"""

WORKERS = _table(
    "worker_processes",
    # Host, process id and start time; no other process ever has the same name.
    Column("name", String(128), primary_key=True),
    _required("host", String(128)),
    _required("pid", Integer),
    _required("started_at", UtcDateTime),
    # When the last tick ended, by the database's clock; null until the first tick has ended.
    _optional("last_tick_at", UtcDateTime),
    _required("written_at", UtcDateTime),
    # How far the host's wall clock is ahead of the database's clock; negative if it is behind.
    _required("clock_offset_seconds", Double),
    # The names of the accounts in the process's settings, joined by commas; null if a release older than revision 0011
    # wrote the row.
    _optional("accounts", LongText),
    # When the process last asked the broker for a sign of life, when the broker last answered, and when the process
    # last received the message of a tick. Null before the first time, or if a release older than revision 0016 wrote
    # the row.
    _optional("broker_asked_at", UtcDateTime),
    _optional("broker_answered_at", UtcDateTime),
    _optional("last_beat_at", UtcDateTime),
    # The identity of the database in which the row was written. If this database has another identity, the row is from
    # before a restore.
    _optional("database_identity", String(255)),
    # When the part of the process that hangs made its last step; null if nothing hangs.
    _optional("hanging_since", UtcDateTime),
    # When the process last failed to write because the database's disk was full; null if it never has.
    _optional("database_full_at", UtcDateTime),
    # How many messages wait in each queue; null if the broker does not tell, or a release older than revision 0027
    # wrote the row.
    _optional("orders_waiting", Integer),
    _optional("ticks_waiting", Integer),
    # When the process last found the queue of orders empty, and when a task in this process last committed its work.
    _optional("queue_empty_at", UtcDateTime),
    _optional("taken_in_at", UtcDateTime),
    # When the process last found that another deployment uses the same queues.
    _optional("other_deployment_at", UtcDateTime),
    # The version of the process's program; null if a release older than revision 0028 wrote the row.
    _optional("version", String(64)),
    **HALF_FULL,
)
"""A row per worker process. The process updates its row regularly. A row that is no longer updated is deleted."""

DEPLOYMENT = _table(
    "deployment",
    Column("id", String(32), primary_key=True),
    # The latest time before which `purge --orders` deleted orders; null if that command has deleted no order.
    _optional("orders_deleted_before", UtcDateTime),
)
"""One row: a random id of this database, and the time before which orders were deleted. Deployments that use the same
Redis database number tell each other apart by this id. A copy of the database has the same id."""

CUT_OFF = _table(
    "cut_off_hosts",
    # The host's name, as in `worker_processes`.
    Column("host", String(128), primary_key=True),
    # The account whose queries fail. Empty if the host is not connected to the platform at all.
    Column("account", String(64), primary_key=True),
    _optional("since", UtcDateTime),
    _required("why", String(255)),
    _required("probe_at", UtcDateTime),
    _required("tries", Integer),
    _required("answers_before", BigInt),
    _required("is_answered", Boolean),
    _required("credentials", String(16)),
)
"""A row per host whose queries fail, for one account or all; `worker.domain.records.monitoring.CutOff` documents each
column."""

NOTIFICATIONS = _table(
    "notifications",
    Column("id", RowId, primary_key=True),
    _required("event_id", String(40)),
    _required("account", String(64)),
    _required("order_id", BigInt),
    _required("type", text_enum(EventType, 32)),
    _required("version", BigInt),
    _required("rank", SmallInteger),
    _required("body", LongText),
    _required("changed_at", UtcDateTime),
    _required("state", text_enum(NotificationState, 16)),
    _required("due_at", UtcDateTime),
    _required("tries", Integer),
    _optional("lease_token", String(32)),
    _optional("leased_until", UtcDateTime),
    _optional("tried_at", UtcDateTime),
    _optional("outcome", String(32)),
    _optional("http_status", Integer),
    _optional("answer", LongText),
    _optional("delivered_at", UtcDateTime),
    _optional("refused_since", UtcDateTime),
    UniqueConstraint("event_id"),
    # Finds the events that may be sent to an account's endpoint, sorted as they will be sent.
    _partial("ix_notifications_due", "account", "state", "rank", "due_at", "id", rows=NOT_SENT, sqlite_rows=PENDING),
    Index("ix_notifications_order", "order_id", "id"),
    _partial("ix_notifications_delivered", "delivered_at", rows=DELIVERED),
    _partial("ix_notifications_gave_up", "state", "account", "id", rows=GAVE_UP),
    Index("ix_notifications_changed", "changed_at", "id"),
    **OFTEN_VACUUMED,
    **NEVER_REUSED_IDS,
)
"""A row per event that tells a billing system about an order; `worker.domain.records.notifications` documents each
field."""

ENDPOINTS = _table(
    "notify_endpoints",
    Column("account", String(64), primary_key=True),
    _required("transport", text_enum(TransportKind, 16)),
    _required("target_digest", String(64)),
    _required("shown", String(255)),
    _optional("events", LongText),
    _required("rest_level", Integer),
    _optional("rest_from", UtcDateTime),
    _optional("rest_until", UtcDateTime),
    _optional("failing_since", UtcDateTime),
    _optional("failed_in_row", LongText),
    _optional("last_failed_id", BigInt),
    _optional("stopped_at", UtcDateTime),
    _optional("paused_at", UtcDateTime),
    _optional("paused_by", String(64)),
    _required("updated_at", UtcDateTime),
    **HALF_FULL,
)
"""A row per account whose billing system is notified of results; workers write the row when they start."""

TOTALS = _table(
    "metric_totals",
    # The metric's name; for a part of a histogram, followed by the part's suffix.
    Column("name", String(64), primary_key=True),
    # A JSON object that maps each label to its value, sorted by label.
    Column("labels", String(255), primary_key=True),
    _required("value", Double),
)
"""A row for each set of labels of each counter, and of each part of a histogram. The value never decreases."""

CURSORS = _table(
    "metric_cursors",
    Column("stream", String(32), primary_key=True),
    # The id of the last row that was counted.
    _required("counted_id", BigInt),
    _required("counted_at", UtcDateTime),
)
"""A row per table whose rows are counted into `metric_totals`; it names the last row of that table that was counted.
Whoever counts locks the row."""

SESSIONS = _table(
    "console_sessions",
    # SHA-256, in hex, of the token in the user's cookie; someone who reads the table cannot sign in with it.
    Column("token_digest", String(64), primary_key=True),
    _required("user_name", String(64)),
    # SHA-256 of the hash of the user's password at sign-in. If the password changes, the sign-in ends.
    _required("password_digest", String(64)),
    _required("created_at", UtcDateTime),
    _required("seen_at", UtcDateTime),
)
"""A row per sign-in at the console. The row stays until the user signs out, or until the user signs in again after this
sign-in has ended."""

FAILURES = _table(
    "console_failures",
    Column("subject", String(16), primary_key=True),
    _required("count", Integer),
    _required("last_at", UtcDateTime),
    _optional("locked_until", UtcDateTime),
)
"""A row per group of user names or of addresses, with the number of sign-ins that failed one after the other. The
number of groups is bounded."""

SELECTIONS = _table(
    "console_selections",
    Column("id", String(32), primary_key=True),
    _required("shown_at", UtcDateTime),
    # A JSON object that maps the row id of each order to the number of events that the order had.
    _required("event_counts", LongText),
)
"""A row per console page on which a user can act on many orders at once: which orders the page showed, and how many
events each of them had. The row stays for half a day."""
