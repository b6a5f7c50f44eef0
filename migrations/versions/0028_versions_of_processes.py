"""Which version of the program a worker process runs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("worker_processes", sa.Column("version", sa.String(64)), **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("worker_processes", "version", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
