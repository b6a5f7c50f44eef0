"""What an account's platform is seen to do: the outlines of its replies, their charsets, the mask of its mobiles."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# Constant defaults: no row is written, and workers of the release before, which do not know the columns, add rows.
_COLUMNS = (
    ("shapes_seen", sa.String(512), False),
    ("charsets_seen", sa.String(64), False),
    ("fewest_digits_shown", sa.SmallInteger(), True),
    ("most_digits_shown", sa.SmallInteger(), True),
)


def upgrade() -> None:
    for name, kind, is_optional in _COLUMNS:
        column = sa.Column(name, kind, nullable=is_optional, server_default=None if is_optional else sa.text("''"))
        op.add_column("account_states", column, **_goes_on("if_not_exists"))


def downgrade() -> None:
    for name, _, _ in reversed(_COLUMNS):
        op.drop_column("account_states", name, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
