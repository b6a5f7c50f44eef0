"""Whether the amount of a failed order is its price, which the platform repeats, and no charge.

It has a default in the database: of rows, and of archive records, that are there already each such amount is a charge.
The release before counts every one as a charge.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "recharge_orders",
        sa.Column("amount_is_price", sa.Boolean(), server_default="0", nullable=False),
        **_goes_on("if_not_exists"),
    )


def downgrade() -> None:
    op.drop_column("recharge_orders", "amount_is_price", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
