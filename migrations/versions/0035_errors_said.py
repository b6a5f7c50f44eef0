"""Messages and values of the lines of `rejected_orders.errors`: by them these are said in another language."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rejected_orders", sa.Column("errors_said", LongText), **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("rejected_orders", "errors_said", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
