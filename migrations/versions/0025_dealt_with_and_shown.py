"""Which refused input is still open, and the order that it calls itself; what pages of the console have shown; and ids
that SQLite never gives again.

Rows that are there already are open and name no order: nothing ends them but a dismissal.

SQLite cannot alter a primary key. Its three tables are copied, dropped, made again under their names and filled: to
rename a table would fail where a view reads it. On the way down they keep their keys, which the release before can use.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText, OrderId, RowId, UtcDateTime

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_REJECTED = "rejected_orders"
_INDEXES = {
    "ix_rejected_orders_open": ["is_open", "received_at"],
    "ix_rejected_orders_request_id": ["request_id", "account"],
    "ix_rejected_orders_custom_parm": ["custom_parm", "account"],
}
_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("account", sa.String(64)),
        sa.Column("request_id", OrderId),
        sa.Column("custom_parm", OrderId),
        sa.Column("is_open", sa.Boolean(), server_default="1", nullable=False),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column(_REJECTED, column, **_goes_on("if_not_exists"))
    op.create_table(
        "console_selections",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("shown_at", UtcDateTime(), nullable=False),
        sa.Column("event_counts", LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_selections")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )
    if op.get_context().dialect.name == "sqlite":
        _make_again(_REJECTED, _create_rejected)
        _make_again("unmatched_callbacks", _create_unmatched)
        _make_again("notifications", _create_notifications)
        # Rows behind the last one may have been counted, and deleted since: the next one is behind these, too.
        op.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'rejected_orders', 0 WHERE NOT EXISTS"
            " (SELECT 1 FROM sqlite_sequence WHERE name = 'rejected_orders')"
        )
        op.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT counted_id FROM metric_cursors"
            " WHERE stream = 'rejected_orders'), 0)) WHERE name = 'rejected_orders'"
        )
    for name, columns in _INDEXES.items():
        op.create_index(name, _REJECTED, columns, **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_table("console_selections", **_goes_on("if_exists"))
    for name in _INDEXES:
        op.drop_index(name, _REJECTED, **_goes_on("if_exists"))
    for column in reversed(_columns()):
        op.drop_column(_REJECTED, column.name, **_goes_on("if_exists"))


def _make_again(table: str, create: Callable[[], None]) -> None:
    copy = f"copy_of_{table}"
    op.execute(f"CREATE TABLE {copy} AS SELECT * FROM {table}")  # noqa: S608  # our own words
    op.drop_table(table)
    create()
    # The columns stand in the order in which revisions added them, here and there.
    op.execute(f"INSERT INTO {table} SELECT * FROM {copy} ORDER BY id")  # noqa: S608  # our own words
    op.drop_table(copy)


def _create_rejected() -> None:
    op.create_table(
        _REJECTED,
        sa.Column("id", RowId, primary_key=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("payload", LongText, nullable=False),
        sa.Column("errors", LongText, nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("repeats", sa.Integer()),
        *_columns(),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rejected_orders_received_at", _REJECTED, ["received_at"])
    op.create_index("uq_rejected_orders_digest", _REJECTED, ["digest"], unique=True)


def _create_unmatched() -> None:
    table = "unmatched_callbacks"
    op.create_table(
        table,
        sa.Column("id", RowId, primary_key=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("custom_parm", sa.String(64)),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("payload", LongText, nullable=False),
        sa.Column("trust", sa.String(16), server_default="settle", nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("repeats", sa.Integer()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_unmatched_callbacks_request_id", table, ["request_id", "account"])
    op.create_index("ix_unmatched_callbacks_custom_parm", table, ["custom_parm", "account"])
    op.create_index("ix_unmatched_callbacks_received_at", table, ["received_at"])
    op.create_index("uq_unmatched_callbacks_digest", table, ["digest"], unique=True)


def _create_notifications() -> None:
    table = "notifications"
    op.create_table(
        table,
        sa.Column("id", RowId, primary_key=True),
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
        sa.Column("refused_since", UtcDateTime()),
        sa.UniqueConstraint("event_id", name=op.f("uq_notifications_event_id")),
        sqlite_autoincrement=True,
    )
    pending, delivered = sa.text("state = 'pending'"), sa.text("delivered_at IS NOT NULL")
    op.create_index("ix_notifications_due", table, ["account", "state", "rank", "due_at", "id"], sqlite_where=pending)
    op.create_index("ix_notifications_order", table, ["order_id", "id"])
    op.create_index("ix_notifications_delivered", table, ["delivered_at"], sqlite_where=delivered)
    gave_up = sa.text("state = 'gave_up'")
    op.create_index("ix_notifications_gave_up", table, ["state", "account", "id"], sqlite_where=gave_up)
    op.create_index("ix_notifications_changed", table, ["changed_at", "id"])


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
