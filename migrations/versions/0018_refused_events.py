"""Since when an event is refused; and a rank behind all others for what has failed by its own fault.

Of an event that was refused before, the time of its last try is known. On the way down its rank is that of bulk acts
again, and the events that failed in a row are counted afresh.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BULK, _RETRY = 1, 2
_NOTIFICATIONS = sa.table(
    "notifications",
    sa.column("state", sa.String),
    *(sa.column(name, sa.Integer) for name in ("rank", "tries")),
    *(sa.column(name) for name in ("tried_at", "refused_since")),
)
_ENDPOINTS = sa.table("notify_endpoints", sa.column("failed_in_row"))


def upgrade() -> None:
    op.add_column("notifications", sa.Column("refused_since", UtcDateTime()), **_goes_on("if_not_exists"))
    columns = _NOTIFICATIONS.c
    refused = sa.update(_NOTIFICATIONS).where(columns.state == "pending", columns.rank == _BULK, columns.tries > 0)
    op.execute(refused.values(rank=_RETRY, refused_since=columns.tried_at))


def downgrade() -> None:
    op.execute(sa.update(_NOTIFICATIONS).where(_NOTIFICATIONS.c.rank == _RETRY).values(rank=_BULK))
    op.execute(sa.update(_ENDPOINTS).values(failed_in_row=None))
    op.drop_column("notifications", "refused_since", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
