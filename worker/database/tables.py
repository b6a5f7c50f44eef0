"""The tables. Names are a contract with billing systems, operators and dashboards: change none lightly.

There are no foreign keys: old orders are deleted, and the queries that polled them stay. All tables stand in one file,
longer than others: it is a list without logic, which is read beside the migrations.
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

# Ids compare byte by byte, and texts hold any character.
TABLE_OPTIONS: Mapping[str, Any] = {
    f"{kind}_{option}": value
    for kind in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}
# A large table is vacuumed long before a fifth of it is dead; rows that every pass updates find room in their page
# (docs/performance.md). Other databases have no such settings.
OFTEN_VACUUMED: Mapping[str, Any] = {
    "postgresql_with": {
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_analyze_scale_factor": "0.02",
        "vacuum_index_cleanup": "on",
    }
}
HALF_FULL: Mapping[str, Any] = {"postgresql_with": {"fillfactor": "50"}}
# SQLite gives the highest id again once its row is deleted. A stale page or command, which names the row, would act on
# another one. The tables without it keep the row with their highest id, or no page names their rows.
NEVER_REUSED_IDS: Mapping[str, Any] = {"sqlite_autoincrement": True}

PENDING = sql("state = 'pending'")
# The same rows in other words. PostgreSQL drops a condition that the index itself guarantees from the search, and with
# it a leading column: each read would go through the whole index.
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
# Written out, not parameters: a plan that is made once for all parameters could not use the partial indexes.
PENDING_STATE: ColumnElement[str] = literal_column("'pending'")
UNRESOLVED_STATE: ColumnElement[str] = literal_column("'unresolved'")
NO_COUNT = "0"
"""A count, or "no", in rows that are older than its column."""
YES = "1"

_Kind = TypeEngine[Any] | type[TypeEngine[Any]]

METADATA = MetaData(naming_convention=NAMING)
"""All tables of the project."""


def _required(name: str, kind: _Kind, *, server_default: str | TextClause | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=server_default)


def _optional(name: str, kind: _Kind) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _partial(name: str, *columns: str, rows: TextClause, sqlite_rows: TextClause | None = None) -> Index:
    """An index of these rows alone; on MariaDB, which has no partial indexes, of all."""
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
    # 0: no answered query polled it yet; 1 to 23: the bucket of its age at the last poll. Outside lane `batch` only 1.
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
    # When an operator made it pending again; the age limit counts from then on.
    _optional("reopened_at", UtcDateTime),
    # When an operator cleared `too_old` of it: it is not flagged as overdue again.
    _optional("dismissed_at", UtcDateTime),
    # Grows with every change that is saved; 0 where nothing has changed since revision 0009.
    _required("version", BigInt, server_default=NO_COUNT),
    # Before then no callback that is only a hint makes it due once more.
    _optional("callback_check_after", UtcDateTime),
    # Whether `ori_amount` of a failed order is its price, which the platform repeats, and no charge.
    _required("amount_is_price", Boolean, server_default=NO_COUNT),
    # The id goes first: a planner that knows nothing of the table yet might read a whole account otherwise.
    UniqueConstraint("request_id", "account"),
    UniqueConstraint("custom_parm", "account"),
    CheckConstraint("request_id IS NOT NULL OR custom_parm IS NOT NULL", name="has_an_id"),
    CheckConstraint("traffic_sts IN (-1, 0, 1)", name="traffic_sts_known"),
    CheckConstraint("state NOT IN ('succeeded', 'failed') OR settled_at IS NOT NULL", name="settled_has_time"),
    # Due orders by index range: one read of the first rows of each. Only pending rows are polled; MariaDB has no
    # partial indexes, so the state is a column of the index as well.
    _partial(
        "ix_recharge_orders_due",
        *("account", "state", "lane", "id_kind", "age_bucket", "due_at"),
        rows=NOT_DONE,
        sqlite_rows=PENDING,
    ),
    _partial("ix_recharge_orders_checked", "account", "check_requested_at", rows=CHECKED),
    # Pending orders long past the age limit, of any account, that are not flagged yet. Not partial on SQLite, which
    # drops a condition that a partial index guarantees from the search, and then sorts.
    Index("ix_recharge_orders_overdue", *("state", "attention", "submitted_at"), postgresql_where=NOT_DONE),
    _partial("ix_recharge_orders_suspect_group", "suspect_group", rows=GROUPED),
    # The billing system reads what has changed since it last read.
    _partial("ix_recharge_orders_changed", "updated_at", rows=NOT_PENDING),
    # What the command line finds and counts by.
    Index("ix_recharge_orders_mobile", "mobile"),
    Index("ix_recharge_orders_submitted", "submitted_at", "id"),
    _partial("ix_recharge_orders_results", "settled_at", "id", "account", "state", "settled_by", rows=SETTLED),
    # What needs a person for one reason, in the order of the lists.
    _partial("ix_recharge_orders_todo", "attention", "submitted_at", "id", rows=SHOWN),
    # Each state in the order of the lists. On PostgreSQL it has no succeeded orders: most orders have succeeded, and
    # the index of the times finds them soon. On SQLite it has all orders, like the index of overdue ones.
    Index("ix_recharge_orders_states", *("state", "submitted_at", "id", "account"), postgresql_where=NOT_SUCCEEDED),
    **OFTEN_VACUUMED,
)
"""An order and what is known of it; `worker.domain.records.orders.Order` documents each field."""

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
    # The platform's words; where there are none, why the query failed, in ours.
    _optional("status_msg", LongText),
    _optional("settled_count", Integer),
    _optional("pending_count", Integer),
    _optional("absent_count", Integer),
    _optional("answer_excerpt", LongText),
    # Joined by commas, which no id contains.
    _required("polled_ids", LongText),
    _optional("absent_ids", LongText),
    # What the answer said about ids that were not polled, in its own words.
    _optional("added_items", LongText),
    # How many of the orders were not due; null where a release before 0021 wrote the row.
    _optional("spare_count", Integer),
    Index("ix_platform_queries_account", "account", "id"),
)
"""A row per grant: which ids were polled, how the query ended, what it changed."""

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
    # Who did it, where it was an operator.
    _optional("actor", String(64)),
    # How often the same was said again; null for never.
    _optional("repeats", Integer),
    # The code of the detail, and its values as JSON: by them it is said in other languages. Null where it is no
    # sentence of ours, and where a release before 0022 wrote the row.
    _optional("detail_code", String(32)),
    _optional("detail_values", LongText),
    Index("ix_order_events_order_id", "order_id", "id"),
)
"""Append only: each change of an order that a person may want to know."""

BUDGETS = _table(
    "query_budgets",
    Column("id", RowId, primary_key=True),
    _required("account_sid", String(64)),
    _required("slot", SmallInteger),
    # By the database's clock.
    _required("due_at", UtcDateTime),
    _required("boot_id", String(64)),
    # By the boot clock of the host that wrote the row, in microseconds.
    _required("boot_due_us", BigInt),
    # The length of that wait, in microseconds.
    _required("wait_us", BigInt),
    _required("token", String(32)),
    _optional("in_flight_query_id", BigInt),
    # Whose turn it was: accounts that share the SID take turns.
    _optional("last_account", String(64)),
    _required("updated_at", UtcDateTime),
    # The window that the row was written with, in microseconds; null where a release before 0005 wrote it.
    _optional("window_us", BigInt),
    # Which database wrote the row (`worker.database.identity`); null where a release before 0019 did.
    _optional("database_identity", String(255)),
    # When workers found it in another one: the last three times in UTC, joined by blanks.
    _optional("database_changes", String(128)),
    UniqueConstraint("account_sid", "slot"),
    **HALF_FULL,
)
"""A row per slot of an account SID: when the next query may be sent, and what is in flight."""

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
    # Whether `account_pauses` has rows of the account: a grant reads them only then.
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
    # As in `operator_acts`; `revision 0032` if a release before wrote the pause.
    _required("act_key", String(32)),
    _required("is_planned", Boolean),
    Index("ix_account_pauses_account", "account"),
)
"""A row per pause of an account; `worker.domain.records.accounts.Pause` documents each field. The programs
alone write these rows, and hold the lock of the account's row meanwhile. The next act or query of the account deletes
rows whose end has passed."""

SCHEDULES = _table(
    "poll_schedules",
    Column("account", String(64), primary_key=True),
    # JSON; `worker.domain.scheduling.stored_json` reads both texts.
    _required("learned", LongText),
    _required("schedule", LongText),
    _required("computed_at", UtcDateTime),
)
"""A row per account with observations: what was learned from them, and the poll schedule that follows."""

OBSERVATIONS = _table(
    "settlement_observations",
    Column("id", RowId, primary_key=True),
    _required("account", String(64)),
    _required("observed_at", UtcDateTime),
    # JSON.
    _required("observations", LongText),
    Index("ix_settlement_observations_account", "account", "id"),
)
"""What one transaction observed of when orders settle: kept until it is learned from."""

REJECTED = _table(
    "rejected_orders",
    Column("id", RowId, primary_key=True),
    _required("received_at", UtcDateTime),
    # The task or command that sent it.
    _required("source", String(32)),
    # JSON, as it came.
    _required("payload", LongText),
    # One a line.
    _required("errors", LongText),
    # Of a callback: by it the same one is found when it comes again.
    _optional("digest", String(64)),
    # How often the same callback has come again; null for never.
    _optional("repeats", Integer),
    # What a refused order calls itself; null for other input, for what is no id, and in rows of before 0025.
    _optional("account", String(64)),
    _optional("request_id", OrderId),
    _optional("custom_parm", OrderId),
    # Until somebody dismisses it, or its order is taken in.
    _required("is_open", Boolean, server_default=YES),
    # JSON: a list of the errors with their messages and values (`worker/domain/records/sentences.py`). Null in rows of
    # before 0035.
    _optional("errors_said", LongText),
    Index("ix_rejected_orders_received_at", "received_at"),
    Index("ix_rejected_orders_open", "is_open", "received_at"),
    Index("ix_rejected_orders_request_id", "request_id", "account"),
    Index("ix_rejected_orders_custom_parm", "custom_parm", "account"),
    Index("uq_rejected_orders_digest", "digest", unique=True),
    **NEVER_REUSED_IDS,
)
"""What was refused, with its errors: nothing that came in is lost."""

UNMATCHED = _table(
    "unmatched_callbacks",
    Column("id", RowId, primary_key=True),
    _required("account", String(64)),
    _optional("request_id", String(64)),
    _optional("custom_parm", String(64)),
    _required("received_at", UtcDateTime),
    # JSON, as it came.
    _required("payload", LongText),
    # What it may do to its order once that is known.
    _required("trust", text_enum(Trust, 16), server_default=Trust.SETTLE.value),
    # By it the same one is found when it comes again; null where a release before 0017 wrote the row.
    _optional("digest", String(64)),
    # How often the same has come again; null for never.
    _optional("repeats", Integer),
    Index("ix_unmatched_callbacks_request_id", "request_id", "account"),
    Index("ix_unmatched_callbacks_custom_parm", "custom_parm", "account"),
    Index("ix_unmatched_callbacks_received_at", "received_at"),
    Index("uq_unmatched_callbacks_digest", "digest", unique=True),
    **NEVER_REUSED_IDS,
)
"""A callback whose order is not known yet."""

ACTS = _table(
    "operator_acts",
    Column("id", RowId, primary_key=True),
    _required("at", UtcDateTime),
    _required("actor", String(64)),
    _required("act", String(32)),
    # Null: all accounts.
    _optional("account", String(64)),
    _optional("reason", LongText),
    # Which orders, by their names; until when an account is paused, or slots are held.
    _optional("detail", LongText),
    # As in `order_events`.
    _optional("detail_code", String(32)),
    _optional("detail_values", LongText),
    # The same in all rows of one act; null where a release before 0024 wrote the row.
    _optional("act_key", String(32)),
    # Of an act on orders: how many this row is about, and their row ids, with blanks between them.
    _optional("order_count", Integer),
    _optional("order_ids", LongText),
    Index("ix_operator_acts_at", "at", "id"),
    Index("ix_operator_acts_act_key", "act_key", "id"),
)
"""Append only: what an operator did to an account, or to all of them; and a row for the orders of one account that
one transaction has changed, each of which has the act among its events as well. An act on orders of several accounts,
or of more than a transaction changes, has several rows with one `act_key`. Any other act of many transactions has one
row, whose detail each of them brings up to date."""

WORKERS = _table(
    "worker_processes",
    # Host, process id and start: another process never has it.
    Column("name", String(128), primary_key=True),
    _required("host", String(128)),
    _required("pid", Integer),
    _required("started_at", UtcDateTime),
    # By the database's clock; null before the first tick has ended.
    _optional("last_tick_at", UtcDateTime),
    _required("written_at", UtcDateTime),
    # The host's wall clock minus the database's.
    _required("clock_offset_seconds", Double),
    # The names of the accounts in its settings, joined by commas; null where a release before 0011 wrote the row.
    _optional("accounts", LongText),
    # The first is null where a release before 0016 wrote the row; the others also before an answer or a tick.
    _optional("broker_asked_at", UtcDateTime),
    _optional("broker_answered_at", UtcDateTime),
    _optional("last_beat_at", UtcDateTime),
    # As in `query_budgets`: a row of another database is of before a restore.
    _optional("database_identity", String(255)),
    # Null where nothing hangs.
    _optional("hanging_since", UtcDateTime),
    # When the process last failed to write, as the database's disk was full; null where it never has.
    _optional("database_full_at", UtcDateTime),
    # How many messages wait in each queue; null where the broker does not tell, or a release before 0027 wrote the row.
    _optional("orders_waiting", Integer),
    _optional("ticks_waiting", Integer),
    # When the queue of orders was last found empty, and when a task last committed its work.
    _optional("queue_empty_at", UtcDateTime),
    _optional("taken_in_at", UtcDateTime),
    # When another deployment was last found to use the same queues.
    _optional("other_deployment_at", UtcDateTime),
    # Of its program; null where a release before 0028 wrote the row.
    _optional("version", String(64)),
    **HALF_FULL,
)
"""A row per worker process, which it writes by its own timer; one that is not written any more is deleted."""

DEPLOYMENT = _table(
    "deployment",
    Column("id", String(32), primary_key=True),
    # The latest time that `purge --orders` was given; null if it has deleted none.
    _optional("orders_deleted_before", UtcDateTime),
)
"""One row: a random id of this database, by which deployments on one Redis number tell each other apart (a copy of the
database has the same one), and up to when orders were deleted."""

CUT_OFF = _table(
    "cut_off_hosts",
    # As in `worker_processes`.
    Column("host", String(128), primary_key=True),
    # Empty: the host is not connected to the platform.
    Column("account", String(64), primary_key=True),
    _optional("since", UtcDateTime),
    _required("why", String(255)),
    _required("probe_at", UtcDateTime),
    _required("tries", Integer),
    _required("answers_before", BigInt),
    _required("is_answered", Boolean),
    _required("credentials", String(16)),
)
"""A row per host whose queries fail, or fail for one account; `worker.domain.records.watching.CutOff` documents each
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
    # What may be sent to an account's endpoint, in its order.
    _partial("ix_notifications_due", "account", "state", "rank", "due_at", "id", rows=NOT_SENT, sqlite_rows=PENDING),
    Index("ix_notifications_order", "order_id", "id"),
    _partial("ix_notifications_delivered", "delivered_at", rows=DELIVERED),
    _partial("ix_notifications_gave_up", "state", "account", "id", rows=GAVE_UP),
    Index("ix_notifications_changed", "changed_at", "id"),
    **OFTEN_VACUUMED,
    **NEVER_REUSED_IDS,
)
"""What is sent to a billing system about an order: `worker.domain.records.notifications` documents each field."""

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
"""A row per account that is notified of its orders; workers enter it at their start."""

TOTALS = _table(
    "metric_totals",
    # Of the metric; of a histogram with the suffix of its part.
    Column("name", String(64), primary_key=True),
    # JSON: label to value, sorted.
    Column("labels", String(255), primary_key=True),
    _required("value", Double),
)
"""A counter, or a part of a histogram, with one set of labels: never lowered."""

CURSORS = _table(
    "metric_cursors",
    Column("stream", String(32), primary_key=True),
    # The last row that was counted.
    _required("counted_id", BigInt),
    _required("counted_at", UtcDateTime),
)
"""How far the rows of a table were counted into `metric_totals`: a row per table, locked while more are counted."""

SESSIONS = _table(
    "console_sessions",
    # SHA-256 of the token in their cookie, in hex: a reader of the table cannot sign in with it.
    Column("token_digest", String(64), primary_key=True),
    _required("user_name", String(64)),
    # SHA-256 of their password's hash at that time: with another password the sign-in has ended.
    _required("password_digest", String(64)),
    _required("created_at", UtcDateTime),
    _required("seen_at", UtcDateTime),
)
"""Somebody who is signed in at the console: a row until they sign out, or sign in again after it has ended."""

FAILURES = _table(
    "console_failures",
    Column("subject", String(16), primary_key=True),
    _required("count", Integer),
    _required("last_at", UtcDateTime),
    _optional("locked_until", UtcDateTime),
)
"""Sign-ins that failed in a row, of names or from addresses that count together: a bounded number of rows."""

SELECTIONS = _table(
    "console_selections",
    Column("id", String(32), primary_key=True),
    _required("shown_at", UtcDateTime),
    # JSON: the row id of each order, and how many events it had.
    _required("event_counts", LongText),
)
"""What a page of the console showed of many orders, for the act that it asks for; each row stays for half a day."""
