"""One index lists the orders of each state; on PostgreSQL it leaves out succeeded ones. It replaces both indexes of
unresolved orders.

The index of results has the order of the lists as well. It gets another name, so that one of the two is there at every
moment. On PostgreSQL no statement waits while an index is created or dropped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_TABLE = "recharge_orders"
_STATES = "ix_recharge_orders_states"
_BY_ACCOUNT = "ix_recharge_orders_unresolved"
_BY_TIME = "ix_recharge_orders_unresolved_times"
_IN_LISTS = ("state", "submitted_at", "id", "account")
_RESULTS = "ix_recharge_orders_results"
_RESULTS_BEFORE = "ix_recharge_orders_settled"
_OF_RESULTS = ("account", "state", "settled_by")
_IS_INVALID = sa.text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


def upgrade() -> None:
    with _outside_a_transaction():
        _create(_STATES, *_IN_LISTS, rows="state <> 'succeeded'")
        _drop(_BY_ACCOUNT)
        _drop(_BY_TIME)
        _create(_RESULTS, "settled_at", "id", *_OF_RESULTS, rows="settled_at IS NOT NULL", is_partial=True)
        _drop(_RESULTS_BEFORE)


def downgrade() -> None:
    with _outside_a_transaction():
        _create(_BY_ACCOUNT, "state", "account", "submitted_at", rows="state = 'unresolved'", is_partial=True)
        _create(_BY_TIME, *_IN_LISTS, rows="state NOT IN ('pending', 'succeeded', 'failed', 'cancelled')")
        _drop(_STATES)
        _create(_RESULTS_BEFORE, "settled_at", *_OF_RESULTS, rows="settled_at IS NOT NULL", is_partial=True)
        _drop(_RESULTS)


@contextmanager
def _outside_a_transaction() -> Iterator[None]:
    """PostgreSQL makes and drops indexes concurrently outside a transaction only."""
    if op.get_context().dialect.name == "postgresql":
        with op.get_context().autocommit_block():
            yield
    else:
        yield


def _create(name: str, *columns: str, rows: str, is_partial: bool = False) -> None:
    """Create an index of these rows on PostgreSQL; on SQLite it has all rows unless it `is_partial`."""
    if _is_invalid(name):
        _drop(name)
    op.create_index(
        name,
        _TABLE,
        list(columns),
        postgresql_where=sa.text(rows),
        sqlite_where=sa.text(rows) if is_partial else None,
        postgresql_concurrently=True,
        **_goes_on("if_not_exists"),
    )


def _is_invalid(name: str) -> bool:
    """Whether PostgreSQL has an index of this name that no statement uses, as a creation that died leaves it."""
    if op.get_context().dialect.name != "postgresql":
        return False
    return bool(op.get_bind().scalar(_IS_INVALID, {"name": name}))


def _drop(name: str) -> None:
    op.drop_index(name, _TABLE, postgresql_concurrently=True, **_goes_on("if_exists"))


def _goes_on(option: str) -> dict[str, Any]:
    """Pass over what is done already: outside a transaction nothing is rolled back, as always on MariaDB."""
    dialect = op.get_context().dialect
    return {option: True} if dialect.name == "postgresql" or getattr(dialect, "is_mariadb", False) else {}
