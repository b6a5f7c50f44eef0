"""Totals of the metrics, and how far the rows were counted: restarts and purges never lower a counter."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    op.create_table(
        "metric_totals",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("labels", sa.String(255), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_metric_totals")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )
    op.create_table(
        "metric_cursors",
        sa.Column("stream", sa.String(32), nullable=False),
        sa.Column("counted_id", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("stream", name=op.f("pk_metric_cursors")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )


def downgrade() -> None:
    op.drop_table("metric_cursors", **_goes_on("if_exists"))
    op.drop_table("metric_totals", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
