"""Until when the platform itself asked an account to wait: no operator ends that.

Who asked for a back-off that lasts while this runs is not recorded, so it counts as the platform's: it ends by
itself, at the latest after 60 windows.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column[Any]("backoff_requested_until", UtcDateTime(), nullable=True)
    op.add_column("account_states", column, **_goes_on("if_not_exists"))
    op.execute("UPDATE account_states SET backoff_requested_until = backoff_until")


def downgrade() -> None:
    op.drop_column("account_states", "backoff_requested_until", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
