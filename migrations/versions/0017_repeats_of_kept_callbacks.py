"""How often the same callback of an unknown order came again: it is kept once.

Rows that are there stay as they are, the same callback several times among them.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TABLE = "unmatched_callbacks"
_DIGEST = "uq_unmatched_callbacks_digest"


def _columns() -> list[sa.Column[Any]]:
    return [sa.Column("digest", sa.String(64)), sa.Column("repeats", sa.Integer())]


def upgrade() -> None:
    for column in _columns():
        op.add_column(_TABLE, column, **_goes_on("if_not_exists"))
    op.create_index(_DIGEST, _TABLE, ["digest"], unique=True, **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_index(_DIGEST, _TABLE, **_goes_on("if_exists"))
    for column in reversed(_columns()):
        op.drop_column(_TABLE, column.name, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
