"""The archive of settled orders."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

from worker.database.column_types import LongText, RowId, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}

# So that no worker moves an order there between the check and the drop of the table. SQLite has one writer.
_LOCKS: Mapping[str, tuple[str, str | None]] = {
    "postgresql": ("LOCK TABLE archived_orders IN ACCESS EXCLUSIVE MODE", None),
    **dict.fromkeys(("mysql", "mariadb"), ("LOCK TABLES archived_orders WRITE", "UNLOCK TABLES")),
}


def upgrade() -> None:
    op.create_table(
        "archived_orders",
        sa.Column("id", RowId, nullable=False, autoincrement=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("custom_parm", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("settled_at", UtcDateTime()),
        sa.Column("archived_at", UtcDateTime(), nullable=False),
        sa.Column("record", LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archived_orders")),
        sa.UniqueConstraint("request_id", "account", name=op.f("uq_archived_orders_request_id_account")),
        sa.UniqueConstraint("custom_parm", "account", name=op.f("uq_archived_orders_custom_parm_account")),
        if_not_exists=_goes_on(),
        **_UTF8MB4_BIN,
    )


def downgrade() -> None:
    if not sa.inspect(op.get_bind()).has_table("archived_orders"):
        return
    lock, unlock = _LOCKS.get(op.get_context().dialect.name, (None, None))
    if lock:
        op.execute(lock)
    try:
        _refuse_to_lose_orders()
        op.drop_table("archived_orders")
    finally:
        if unlock:
            op.execute(unlock)


def _refuse_to_lose_orders() -> None:
    if op.get_bind().scalar(sa.text("SELECT id FROM archived_orders LIMIT 1")) is not None:
        raise CommandError(
            "archived_orders holds orders, which the release before does not know:"
            " run `reconciler migrate` and `reconciler archive --restore` first,"
            " then migrate down again"
        )


def _goes_on() -> bool:
    """Whether what is there already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return bool(getattr(op.get_context().dialect, "is_mariadb", False))
