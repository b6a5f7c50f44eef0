"""What an account's platform was seen to do is no longer kept. The way down adds its columns, empty."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("shapes_seen", sa.String(512), False),
    ("charsets_seen", sa.String(64), False),
    ("fewest_digits_shown", sa.SmallInteger(), True),
    ("most_digits_shown", sa.SmallInteger(), True),
)


def upgrade() -> None:
    for name, _, _ in _COLUMNS:
        op.drop_column("account_states", name, **_goes_on("if_exists"))


def downgrade() -> None:
    for name, kind, is_optional in _COLUMNS:
        column = sa.Column(name, kind, nullable=is_optional, server_default=None if is_optional else sa.text("''"))
        op.add_column("account_states", column, **_goes_on("if_not_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
