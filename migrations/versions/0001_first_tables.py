"""The first tables: orders, their events, queries, budgets, accounts, and what was refused or came too early."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import Amount, LongText, RowId, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Ids compare byte by byte, and texts hold any character.
_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    _create_recharge_orders()
    _index_recharge_orders()
    _create_platform_queries()
    _create_order_events()
    _create_query_budgets()
    _create_account_states()
    _create_rejected_orders()
    _create_unmatched_callbacks()


def downgrade() -> None:
    for table in (
        "unmatched_callbacks",
        "rejected_orders",
        "account_states",
        "query_budgets",
        "order_events",
        "platform_queries",
        "recharge_orders",
    ):
        op.drop_table(table, if_exists=_goes_on())


def _goes_on() -> bool:
    """Whether what is there already is passed over.

    MariaDB cannot roll a schema change back: a migration that died half-way is run again, and goes on from there.
    MySQL has no IF NOT EXISTS for an index.
    """
    return bool(getattr(op.get_context().dialect, "is_mariadb", False))


def _create_table(name: str, *parts: sa.schema.SchemaItem) -> None:
    op.create_table(name, *parts, if_not_exists=_goes_on(), **_UTF8MB4_BIN)


def _create_index(name: str, table: str, *columns: str, where: str = "", sqlite_where: str = "") -> None:
    """`where`: partial where the database has partial indexes; `sqlite_where`: in other words on SQLite."""
    words = {"postgresql_where": where, "sqlite_where": sqlite_where or where}
    partial: dict[str, Any] = {name: sa.text(condition) for name, condition in words.items() if condition}
    op.create_index(op.f(name), table, columns, if_not_exists=_goes_on(), **partial)


def _create_recharge_orders() -> None:
    _create_table(
        "recharge_orders",
        sa.Column("id", RowId, nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("custom_parm", sa.String(64)),
        sa.Column("mobile", sa.String(11)),
        sa.Column("expected_amount", Amount()),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("traffic_sts", sa.SmallInteger()),
        sa.Column("remark", LongText),
        sa.Column("ori_amount", Amount()),
        sa.Column("settled_by", sa.String(16)),
        sa.Column("attention", sa.String(32)),
        sa.Column("submitted_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("queried_at", UtcDateTime()),
        sa.Column("query_count", sa.Integer(), nullable=False),
        sa.Column("settled_at", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("id_kind", sa.String(16), nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("look_group", sa.SmallInteger(), nullable=False),
        sa.Column("suspect_group", sa.BigInteger()),
        sa.Column("lease_token", sa.String(32)),
        sa.Column("check_requested_at", UtcDateTime()),
        sa.Column("absences", sa.Integer(), nullable=False),
        sa.Column("absence_mark", sa.BigInteger(), nullable=False),
        sa.Column("bad_ends", sa.Integer(), nullable=False),
        sa.Column("failures_alone", sa.Integer(), nullable=False),
        sa.Column("failure_mark", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recharge_orders")),
        sa.UniqueConstraint("request_id", "account", name=op.f("uq_recharge_orders_request_id_account")),
        sa.UniqueConstraint("custom_parm", "account", name=op.f("uq_recharge_orders_custom_parm_account")),
        sa.CheckConstraint(
            "request_id IS NOT NULL OR custom_parm IS NOT NULL", name=op.f("ck_recharge_orders_has_an_id")
        ),
        sa.CheckConstraint("traffic_sts IN (-1, 0, 1)", name=op.f("ck_recharge_orders_traffic_sts_known")),
        sa.CheckConstraint(
            "state NOT IN ('succeeded', 'failed') OR settled_at IS NOT NULL",
            name=op.f("ck_recharge_orders_settled_has_time"),
        ),
    )


def _index_recharge_orders() -> None:
    table = "recharge_orders"
    due = ("account", "state", "lane", "id_kind", "look_group", "due_at")
    # In PostgreSQL not by `= 'pending'`: tables.py says why.
    not_done = "state NOT IN ('succeeded', 'failed', 'unresolved', 'cancelled')"
    _create_index("ix_recharge_orders_due", table, *due, where=not_done, sqlite_where="state = 'pending'")
    checked = "check_requested_at IS NOT NULL"
    _create_index("ix_recharge_orders_checked", table, "account", "check_requested_at", where=checked)
    _create_index("ix_recharge_orders_suspect_group", table, "suspect_group", where="suspect_group IS NOT NULL")
    _create_index("ix_recharge_orders_changed", table, "updated_at", where="state <> 'pending'")


def _create_platform_queries() -> None:
    _create_table(
        "platform_queries",
        sa.Column("id", RowId, nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("account_sid", sa.String(64), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("work", sa.String(16), nullable=False),
        sa.Column("id_kind", sa.String(16), nullable=False),
        sa.Column("order_count", sa.Integer(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime()),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("http_status", sa.Integer()),
        sa.Column("status_code", LongText),
        sa.Column("status_msg", LongText),
        sa.Column("settled_count", sa.Integer()),
        sa.Column("pending_count", sa.Integer()),
        sa.Column("absent_count", sa.Integer()),
        sa.Column("answer_excerpt", LongText),
        sa.Column("asked_ids", LongText, nullable=False),
        sa.Column("absent_ids", LongText),
        sa.Column("added_items", LongText),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_queries")),
    )
    _create_index("ix_platform_queries_account", "platform_queries", "account", "id")


def _create_order_events() -> None:
    _create_table(
        "order_events",
        sa.Column("id", RowId, nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("query_id", sa.BigInteger()),
        sa.Column("from_state", sa.String(16)),
        sa.Column("to_state", sa.String(16)),
        sa.Column("traffic_sts", LongText),
        sa.Column("remark", LongText),
        sa.Column("ori_amount", LongText),
        sa.Column("detail", LongText),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_events")),
    )
    _create_index("ix_order_events_order_id", "order_events", "order_id", "id")


def _create_query_budgets() -> None:
    _create_table(
        "query_budgets",
        sa.Column("id", RowId, nullable=False),
        sa.Column("account_sid", sa.String(64), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("boot_due_us", sa.BigInteger(), nullable=False),
        sa.Column("wait_us", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("in_flight_query_id", sa.BigInteger()),
        sa.Column("last_account", sa.String(64)),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_query_budgets")),
        sa.UniqueConstraint("account_sid", "slot", name=op.f("uq_query_budgets_account_sid_slot")),
    )


def _create_account_states() -> None:
    _create_table(
        "account_states",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("backoff_level", sa.Integer(), nullable=False),
        sa.Column("backoff_until", UtcDateTime()),
        sa.Column("backoff_seconds", sa.Double(), nullable=False),
        sa.Column("refusals_in_row", sa.Integer(), nullable=False),
        sa.Column("configuration_refused", sa.Boolean(), nullable=False),
        sa.Column("paused_at", UtcDateTime()),
        sa.Column("echoes_custom_parm", sa.Boolean(), nullable=False),
        sa.Column("answered_with_items", sa.BigInteger(), nullable=False),
        sa.Column("answered_by_request_id", sa.BigInteger(), nullable=False),
        sa.Column("answered_by_custom_parm", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("batches_without_request_id", sa.BigInteger(), nullable=False),
        sa.Column("batches_without_custom_parm", sa.BigInteger(), nullable=False),
        sa.Column("one_item_streak", sa.Integer(), nullable=False),
        sa.Column("one_item_since", sa.BigInteger()),
        sa.Column("one_item_mode", sa.Boolean(), nullable=False),
        sa.Column("batch_retry_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_account_states")),
    )


def _create_rejected_orders() -> None:
    _create_table(
        "rejected_orders",
        sa.Column("id", RowId, nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("payload", LongText, nullable=False),
        sa.Column("errors", LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_orders")),
    )
    _create_index("ix_rejected_orders_received_at", "rejected_orders", "received_at")


def _create_unmatched_callbacks() -> None:
    table = "unmatched_callbacks"
    _create_table(
        table,
        sa.Column("id", RowId, nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("custom_parm", sa.String(64)),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("payload", LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmatched_callbacks")),
    )
    _create_index("ix_unmatched_callbacks_request_id", table, "request_id", "account")
    _create_index("ix_unmatched_callbacks_custom_parm", table, "custom_parm", "account")
    _create_index("ix_unmatched_callbacks_received_at", table, "received_at")
