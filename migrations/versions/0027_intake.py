"""How many messages wait at the broker, when a task last committed its work, and an id of the database."""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("orders_waiting", sa.Integer()),
        sa.Column("ticks_waiting", sa.Integer()),
        sa.Column("queue_empty_at", UtcDateTime()),
        sa.Column("taken_in_at", UtcDateTime()),
        sa.Column("other_deployment_at", UtcDateTime()),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column("worker_processes", column, **_goes_on("if_not_exists"))
    op.create_table(
        "deployment",
        sa.Column("id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )
    # One row, also where the revision died half-way on MariaDB and is repeated.
    op.execute("DELETE FROM deployment")
    op.bulk_insert(sa.table("deployment", sa.column("id", sa.String)), [{"id": secrets.token_hex(16)}])


def downgrade() -> None:
    op.drop_table("deployment", **_goes_on("if_exists"))
    for column in reversed(_columns()):
        op.drop_column("worker_processes", column.name, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
