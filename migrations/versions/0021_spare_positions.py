"""How many orders of a query were not due: they took positions that no due order needed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("platform_queries", sa.Column("spare_count", sa.Integer), **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("platform_queries", "spare_count", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
