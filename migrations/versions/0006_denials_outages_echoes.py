"""What is remembered of denials, outages of the platform and echoes of customParm, and an index of overdue orders.

All counts begin at 0. They have a default in the database, so that a record of the archive that was written before they
existed is restored with it. A suspect that failed alone is in a lane of its own from here on; a group of one that has
not failed yet changes lanes with its next failure.

The release before knows neither that lane nor the events of overdue orders. On the way down they take the nearest of
its words; the detail of an event, which says what happened, stays.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.adapters.database.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _count(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind(), nullable=False, server_default="0")


def _columns() -> list[tuple[str, sa.Column[Any]]]:
    return [
        ("recharge_orders", _count("unavailable_failures")),
        ("recharge_orders", _count("failure_mark_any", sa.BigInteger)),
        ("recharge_orders", _count("denials")),
        ("recharge_orders", sa.Column("first_denied_at", UtcDateTime())),
        ("recharge_orders", _count("denial_mark", sa.BigInteger)),
        ("account_states", _count("echo_endings")),
        ("account_states", _count("empty_echo_batches")),
        ("account_states", sa.Column("echo_retry_at", UtcDateTime())),
        ("account_states", _count("answered_with_belief", sa.BigInteger)),
        ("account_states", _count("suspect_turns", sa.BigInteger)),
        ("account_states", _count("failures_in_row")),
        ("account_states", sa.Column("failing_since", sa.BigInteger())),
        ("account_states", sa.Column("outage_from", sa.BigInteger())),
        ("account_states", sa.Column("outage_until", sa.BigInteger())),
        ("account_states", _count("answers_in_row")),
        ("account_states", sa.Column("suspects_returned_at", UtcDateTime())),
    ]


def upgrade() -> None:
    for table, column in _columns():
        op.add_column(table, column, **_goes_on("if_not_exists"))
    op.create_index(
        "ix_recharge_orders_overdue",
        "recharge_orders",
        ["state", "attention", "submitted_at"],
        postgresql_where=sa.text("state NOT IN ('succeeded', 'failed', 'unresolved', 'cancelled')"),
        sqlite_where=sa.text("state = 'pending'"),
        **_goes_on("if_not_exists"),
    )
    op.execute("UPDATE recharge_orders SET lane = 'lone_suspect' WHERE lane = 'suspect' AND failures_alone > 0")


def downgrade() -> None:
    op.execute("UPDATE recharge_orders SET lane = 'suspect' WHERE lane = 'lone_suspect'")
    op.execute("UPDATE order_events SET kind = 'not_believed', source = 'query' WHERE kind = 'overdue'")
    op.drop_index("ix_recharge_orders_overdue", "recharge_orders", **_goes_on("if_exists"))
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
