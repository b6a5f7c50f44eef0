"""The window that a slot's row was written with, in microseconds.

Null: a release before this one wrote the row, with an unknown window. The first worker that locks the row, or that
starts, adds its own window to the wait: whatever the window was, the next query then comes late enough.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("query_budgets", sa.Column("window_us", sa.BigInteger(), nullable=True), **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("query_budgets", "window_us", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
