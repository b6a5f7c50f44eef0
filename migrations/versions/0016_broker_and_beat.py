"""Whether the broker answers each worker process, and when it last received a tick of beat."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_COLUMNS = ("broker_asked_at", "broker_answered_at", "last_beat_at")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("worker_processes", sa.Column(name, UtcDateTime()), **_goes_on("if_not_exists"))


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.drop_column("worker_processes", name, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
