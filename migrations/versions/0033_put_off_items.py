"""Items of lists that wait for orders which somebody else holds locked."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText, RowId, UtcDateTime

revision = "0033"
down_revision = "0031"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    op.create_table(
        "put_off_items",
        sa.Column("id", RowId, nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("payload", LongText, nullable=False),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_put_off_items")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )


def downgrade() -> None:
    op.drop_table("put_off_items", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
