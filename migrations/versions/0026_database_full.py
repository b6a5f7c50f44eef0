"""When a worker process last failed to write, as the database's disk was full: an empty column."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("worker_processes", sa.Column("database_full_at", UtcDateTime()), **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("worker_processes", "database_full_at", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
