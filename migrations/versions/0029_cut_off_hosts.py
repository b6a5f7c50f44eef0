"""Hosts whose queries fail, or fail for one account; and the back-offs that queries without a connection make."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_UTF8MB4_BIN: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("engine", "InnoDB"))
}


def upgrade() -> None:
    op.create_table(
        "cut_off_hosts",
        sa.Column("host", sa.String(128), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=True),
        sa.Column("why", sa.String(255), nullable=False),
        sa.Column("probe_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("answers_before", sa.BigInteger(), nullable=False),
        sa.Column("is_answered", sa.Boolean(), nullable=False),
        sa.Column("credentials", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("host", "account", name=op.f("pk_cut_off_hosts")),
        **_UTF8MB4_BIN,
        **_goes_on("if_not_exists"),
    )
    # Workers of the release before leave the column out.
    unreachable: sa.Column[bool] = sa.Column("backoff_unreachable", sa.Boolean(), nullable=False, server_default="0")
    op.add_column("account_states", unreachable, **_goes_on("if_not_exists"))


def downgrade() -> None:
    op.drop_column("account_states", "backoff_unreachable", **_goes_on("if_exists"))
    op.drop_table("cut_off_hosts", **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
