"""Columns for denials, outages of the platform and echoes of customParm, and an index of overdue orders.

All counts begin at 0, except the mark of an order that failed alone: no answer so far came after that failure. They
have a default in the database: archive records from before these columns are restored with it. A suspect whose group
has no other member is in a lane of its own from now on.

The release before knows neither that lane nor the events of overdue orders. A downgrade replaces them by its nearest
values; the detail of an event, which says what happened, stays. Restore the archive before a downgrade: its records
keep the new values.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.database.column_types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


# Groups of one: those that failed alone, and those that the last halving left.
_ALONE = """
UPDATE recharge_orders SET lane = 'lone_suspect' WHERE lane = 'suspect' AND suspect_group IN (
    SELECT suspect_group FROM (
        SELECT suspect_group FROM recharge_orders
        WHERE suspect_group IS NOT NULL GROUP BY suspect_group HAVING count(*) = 1
    ) AS alone
)
"""
# As if every answer so far came before the order's last failure: only a later answer counts.
_MARKS = """
UPDATE recharge_orders SET failure_mark_any = COALESCE((
    SELECT answered_by_request_id + answered_by_custom_parm FROM account_states
    WHERE account_states.account = recharge_orders.account
), 0) WHERE failures_alone > 0
"""


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
        **_goes_on("if_not_exists"),
    )
    op.execute(_ALONE)
    op.execute(_MARKS)


def downgrade() -> None:
    op.execute("UPDATE recharge_orders SET lane = 'suspect' WHERE lane = 'lone_suspect'")
    op.execute("UPDATE order_events SET kind = 'not_believed', source = 'query' WHERE kind = 'overdue'")
    op.drop_index("ix_recharge_orders_overdue", "recharge_orders", **_goes_on("if_exists"))
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """That what is done already is passed over: MariaDB cannot roll a schema change back (see revision 0001)."""
    return {option: True} if getattr(op.get_context().dialect, "is_mariadb", False) else {}
