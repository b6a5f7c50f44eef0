"""What the console needs: acts of many rows that count as one, with their orders; indexes that have the orders with
a reason, and the unresolved ones, in the order of its lists; and files that are made in the background."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from worker.database.column_types import UtcDateTime

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    _create_exports()
    op.add_column("operator_acts", sa.Column("act_key", sa.String(32)), **_goes_on("if_not_exists"))
    op.add_column("operator_acts", sa.Column("order_count", sa.Integer()), **_goes_on("if_not_exists"))
    op.add_column("operator_acts", sa.Column("order_ids", _LONG_TEXT), **_goes_on("if_not_exists"))
    for column in _of_planned_pauses():
        op.add_column("account_states", column, **_goes_on("if_not_exists"))
    op.create_index("ix_operator_acts_at", "operator_acts", ["at", "id"], **_goes_on("if_not_exists"))
    op.create_index("ix_operator_acts_act_key", "operator_acts", ["act_key", "id"], **_goes_on("if_not_exists"))
    op.drop_index("ix_operator_acts_account", "operator_acts", **_goes_on("if_exists"))
    _index_attention("ix_recharge_orders_todo", "submitted_at", "id")
    op.drop_index("ix_recharge_orders_attention", "recharge_orders", **_goes_on("if_exists"))
    unresolved = sa.text("state NOT IN ('pending', 'succeeded', 'failed', 'cancelled')")
    op.create_index(
        "ix_recharge_orders_unresolved_times",
        "recharge_orders",
        ["state", "submitted_at", "id", "account"],
        postgresql_where=unresolved,
        **_goes_on("if_not_exists"),
    )


def _of_planned_pauses() -> list[sa.Column[Any]]:
    return [
        sa.Column("planned_from", UtcDateTime()),
        sa.Column("planned_until", UtcDateTime()),
        sa.Column("planned_by", sa.String(64)),
        sa.Column("planned_reason", _LONG_TEXT),
    ]


def downgrade() -> None:
    op.drop_table("console_exports", **_goes_on("if_exists"))
    op.drop_index("ix_recharge_orders_unresolved_times", "recharge_orders", **_goes_on("if_exists"))
    _index_attention("ix_recharge_orders_attention", "id")
    op.drop_index("ix_recharge_orders_todo", "recharge_orders", **_goes_on("if_exists"))
    op.create_index("ix_operator_acts_account", "operator_acts", ["account", "id"], **_goes_on("if_not_exists"))
    op.drop_index("ix_operator_acts_act_key", "operator_acts", **_goes_on("if_exists"))
    op.drop_index("ix_operator_acts_at", "operator_acts", **_goes_on("if_exists"))
    for column in reversed(_of_planned_pauses()):
        op.drop_column("account_states", column.name, **_goes_on("if_exists"))
    op.drop_column("operator_acts", "order_ids", **_goes_on("if_exists"))
    op.drop_column("operator_acts", "order_count", **_goes_on("if_exists"))
    op.drop_column("operator_acts", "act_key", **_goes_on("if_exists"))


def _index_attention(name: str, *columns: str) -> None:
    shown = sa.text("attention IS NOT NULL")
    indexed = ["attention", *columns]
    go_on = _goes_on("if_not_exists")
    op.create_index(name, "recharge_orders", indexed, postgresql_where=shown, sqlite_where=shown, **go_on)


def _create_exports() -> None:
    op.create_table(
        "console_exports",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("list_name", sa.String(32), nullable=False),
        sa.Column("filters", _LONG_TEXT, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("slot", sa.SmallInteger(), nullable=True),
        sa.Column("running_user", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_exports")),
        sa.UniqueConstraint("slot", name=op.f("uq_console_exports_slot")),
        sa.UniqueConstraint("running_user", name=op.f("uq_console_exports_running_user")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
