"""Which accounts need not be tried now, in one statement for all of them.

An account without a due order has an open slot all the time. To try for it takes a transaction with locks; a thousand
such accounts, once a second each, would keep a machine busy for nothing.
"""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, literal, select

from worker.database.bulk_statements import one_of
from worker.database.engine import Database
from worker.domain.accounts import AccountState, restart_stepped_backoff
from worker.domain.orders import Lane
from worker.domain.reports import IdKind
from worker.stores.account_states import STATES
from worker.stores.due_orders import WAYS, is_asked_by, is_due


def read_resting(database: Database, accounts: Collection[str]) -> set[str]:
    """Those of these accounts that have nothing due, back off or are paused, as one look without a lock can tell.

    A hint to save work. An account of which nothing is known yet is not among them.
    """
    if not accounts:
        return set()
    with database.read() as connection:
        now = database.now(connection)
        statement = _accounts().where(one_of(connection, STATES.c.account, accounts))
        rows = connection.execute(statement, {"now": now}).mappings().all()
    return {row["account"] for row in rows if row["has_nothing_due"] or _waits(row, now)}


def _waits(row: Any, now: datetime) -> bool:
    state = AccountState(
        account=row["account"],
        backoff_until=row["backoff_until"],
        backoff_seconds=row["backoff_seconds"],
        paused_at=row["paused_at"],
    )
    if state.paused_at is not None:
        return True
    # One that a stepped clock has put off is brought back by the grant.
    return state.is_backed_off(now) and restart_stepped_backoff(state, now) == state


@cache
def _accounts() -> Select[Any]:
    """Made once: to put the statement together takes longer than to run it."""
    # Each of the parts is a look into the index, at its first order; the first that is due ends them.
    has_nothing_due = func.coalesce(*(_first_due(*way) for way in WAYS)).is_(None)
    known = (STATES.c.account, STATES.c.backoff_until, STATES.c.backoff_seconds, STATES.c.paused_at)
    return select(*known, has_nothing_due.label("has_nothing_due"))


def _first_due(lane: Lane, kind: IdKind, group: int) -> ColumnElement[int]:
    # By LIMIT and not by EXISTS, which PostgreSQL might answer for all accounts by reading every due order.
    due = is_due(STATES.c.account, bindparam("now")) & is_asked_by(lane, kind, group)
    return select(literal(1)).where(due).limit(1).scalar_subquery()
