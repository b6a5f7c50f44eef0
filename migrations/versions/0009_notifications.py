"""Notifications of what became of orders: one row for each, the endpoints that take them, and a version of each order.

The version of orders that are there already is 0, and so it is in records of the archive that are older: the next
change gives them one.

On the way down notifications that were not received are lost, which is refused while there are any
(`worker.database.migrations`). Those that were delivered go, and so does what is known of endpoints: workers find
that out again.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText, RowId, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}
# Name of an index: its columns, and which rows it holds on PostgreSQL and on SQLite.
_INDEXES: dict[str, tuple[list[str], str | None, str | None]] = {
    # In other words on PostgreSQL, which would otherwise drop the state from the search (worker/database/tables.py).
    "ix_notifications_due": (
        ["account", "state", "rank", "due_at", "id"],
        "state NOT IN ('delivered', 'gave_up')",
        "state = 'pending'",
    ),
    "ix_notifications_order": (["order_id", "id"], None, None),
    "ix_notifications_delivered": (["delivered_at"], "delivered_at IS NOT NULL", "delivered_at IS NOT NULL"),
    "ix_notifications_gave_up": (["state", "account", "id"], "state = 'gave_up'", "state = 'gave_up'"),
    "ix_notifications_changed": (["changed_at", "id"], None, None),
}


def upgrade() -> None:
    op.add_column(
        "recharge_orders",
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        **_goes_on("if_not_exists"),
    )
    _create_notifications()
    _create_endpoints()
    for name, (columns, on_postgresql, on_sqlite) in _INDEXES.items():
        op.create_index(
            name,
            "notifications",
            columns,
            postgresql_where=None if on_postgresql is None else sa.text(on_postgresql),
            sqlite_where=None if on_sqlite is None else sa.text(on_sqlite),
            **_goes_on("if_not_exists"),
        )


def downgrade() -> None:
    # Their indexes go with them.
    for table in ("notify_endpoints", "notifications"):
        op.drop_table(table, **_goes_on("if_exists"))
    op.drop_column("recharge_orders", "version", **_goes_on("if_exists"))


def _create_notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", RowId, nullable=False),
        sa.Column("event_id", sa.String(40), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("body", LongText, nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(32)),
        sa.Column("leased_until", UtcDateTime()),
        sa.Column("tried_at", UtcDateTime()),
        sa.Column("outcome", sa.String(32)),
        sa.Column("http_status", sa.Integer()),
        sa.Column("answer", LongText),
        sa.Column("delivered_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("event_id", name=op.f("uq_notifications_event_id")),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_analyze_scale_factor": "0.02",
            "vacuum_index_cleanup": "on",
        },
        **_goes_on("if_not_exists"),
        **_UTF8MB4_BIN,
    )


def _create_endpoints() -> None:
    op.create_table(
        "notify_endpoints",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("transport", sa.String(16), nullable=False),
        sa.Column("target_digest", sa.String(64), nullable=False),
        sa.Column("shown", sa.String(255), nullable=False),
        sa.Column("events", LongText),
        sa.Column("rest_level", sa.Integer(), nullable=False),
        sa.Column("rest_from", UtcDateTime()),
        sa.Column("rest_until", UtcDateTime()),
        sa.Column("failing_since", UtcDateTime()),
        sa.Column("failed_in_row", LongText),
        sa.Column("last_failed_id", sa.BigInteger()),
        sa.Column("stopped_at", UtcDateTime()),
        sa.Column("paused_at", UtcDateTime()),
        sa.Column("paused_by", sa.String(64)),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_notify_endpoints")),
        postgresql_with={"fillfactor": "50"},
        **_goes_on("if_not_exists"),
        **_UTF8MB4_BIN,
    )


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
