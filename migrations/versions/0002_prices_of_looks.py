"""What is learned of when orders settle, and the poll schedules that follow (here under their names before 0007).

`recharge_orders.look_group` gets more values, and its rows stay as they are. It said whether an answered query had
polled an order (1) or none had (0). Now 1 to 23 is the bucket of the order's age at its last poll. An order that was in
bucket 1 before stays there until its next poll, as if it were last polled when it was young. That does no harm: a
bucket only says where an order is read; its poll priority follows from its times. A downgrade moves the buckets above 1
to bucket 1, the only one that the release before reads.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText, RowId, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    op.create_table(
        "account_prices",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("learned", LongText, nullable=False),
        sa.Column("prices", LongText, nullable=False),
        sa.Column("priced_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_account_prices")),
        if_not_exists=_goes_on(),
        **_UTF8MB4_BIN,
    )
    op.create_table(
        "settlement_notes",
        sa.Column("id", RowId, nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("noted_at", UtcDateTime(), nullable=False),
        sa.Column("notes", LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_notes")),
        if_not_exists=_goes_on(),
        **_UTF8MB4_BIN,
    )
    op.create_index(
        op.f("ix_settlement_notes_account"), "settlement_notes", ["account", "id"], if_not_exists=_goes_on()
    )


def downgrade() -> None:
    op.execute("UPDATE recharge_orders SET look_group = 1 WHERE state = 'pending' AND look_group > 1")
    for table in ("settlement_notes", "account_prices"):
        op.drop_table(table, if_exists=_goes_on())


def _goes_on() -> bool:
    """Whether what is there already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return bool(getattr(op.get_context().dialect, "is_mariadb", False))
