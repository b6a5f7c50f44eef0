"""What an event or an act says, as a code with its values beside the sentence. Earlier rows have the sentence alone."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TABLES = ("order_events", "operator_acts")
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("detail_code", sa.String(32)), **_goes_on("if_not_exists"))
        op.add_column(table, sa.Column("detail_values", _LONG_TEXT), **_goes_on("if_not_exists"))


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_column(table, "detail_values", **_goes_on("if_exists"))
        op.drop_column(table, "detail_code", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
