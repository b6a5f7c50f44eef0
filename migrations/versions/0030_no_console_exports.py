"""The console makes no files in the background any more: the table of them goes, with its rows.

The way down creates it empty.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from worker.database.column_types import UtcDateTime

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    op.drop_table("console_exports", **_goes_on("if_exists"))


def downgrade() -> None:
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
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
