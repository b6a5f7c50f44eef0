"""Which accounts each worker process polls: an account that no running worker has is not served."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import LongText

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("worker_processes", sa.Column("accounts", LongText), **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("worker_processes", "accounts", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
