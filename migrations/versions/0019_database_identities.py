"""Which database wrote the row of a slot, and of a worker process: a restored one is noticed.

Null: a release before this one wrote the row. The first worker that reads it writes the present one, without a wait.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in _columns():
        op.add_column(table, column, **_goes_on("if_not_exists"))


def downgrade() -> None:
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name, **_goes_on("if_exists"))


def _columns() -> list[tuple[str, sa.Column[str]]]:
    return [
        ("query_budgets", sa.Column("database_identity", sa.String(255), nullable=True)),
        ("query_budgets", sa.Column("database_changes", sa.String(128), nullable=True)),
        ("worker_processes", sa.Column("database_identity", sa.String(255), nullable=True)),
    ]


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
