"""Callbacks over HTTP: what a kept one may do, how often the same came again, and when a hint may count once more.

Callbacks that are kept already came as tasks: they settle their orders, as before. Workers of the release before would
let every kept callback do that. So on the way down those that may not are in the way
(`worker.database.migrations`); and RECONCILER_CALLBACK_TRUST=check is for when all workers are of this release.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DIGEST = "uq_rejected_orders_digest"


def _columns() -> list[tuple[str, sa.Column[Any]]]:
    return [
        ("recharge_orders", sa.Column("callback_check_after", UtcDateTime())),
        ("order_events", sa.Column("repeats", sa.Integer())),
        ("rejected_orders", sa.Column("digest", sa.String(64))),
        ("rejected_orders", sa.Column("repeats", sa.Integer())),
        ("unmatched_callbacks", sa.Column("trust", sa.String(16), server_default="settle", nullable=False)),
    ]


def upgrade() -> None:
    for table, column in _columns():
        op.add_column(table, column, **_goes_on("if_not_exists"))
    op.create_index(_DIGEST, "rejected_orders", ["digest"], unique=True, **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_index(_DIGEST, "rejected_orders", **_goes_on("if_exists"))
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
