"""What operators did, and the orders that a filter of theirs selects."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from worker.database.bulk_statements import insert_rows
from worker.database.tables import UNRESOLVED, OperatorAct, table_of
from worker.domain.records.acts import ActEntry
from worker.domain.records.order_changes import EventKind
from worker.stores.recharge_orders import EVENTS, ORDERS

ACTS = table_of(OperatorAct)


def add_acts(connection: Connection, entries: Iterable[ActEntry]) -> None:
    """Append the records of acts."""
    insert_rows(connection, ACTS, [asdict(entry) for entry in entries])


def recent_acts(connection: Connection, *, limit: int, accounts: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The newest acts, newest first; those about all accounts, and about these, or any where none is named."""
    statement = select(ACTS).order_by(ACTS.c.id.desc()).limit(limit)
    if accounts:
        statement = statement.where(ACTS.c.account.in_(accounts) | ACTS.c.account.is_(None))
    return [dict(row) for row in connection.execute(statement).mappings()]


def unresolved_since(connection: Connection, since: datetime | None, accounts: Collection[str]) -> list[int]:
    """The ids of these accounts' orders that are unresolved and became so at this time or later; None: at any."""
    statement = select(ORDERS.c.id).where(UNRESOLVED, ORDERS.c.account.in_(accounts)).order_by(ORDERS.c.id)
    if since is not None:
        gave_up = select(EVENTS.c.id).where(
            EVENTS.c.order_id == ORDERS.c.id, EVENTS.c.kind == EventKind.GAVE_UP, EVENTS.c.at >= since
        )
        # What was changed last before that time cannot have become unresolved after it: most are left out by this.
        statement = statement.where(ORDERS.c.updated_at >= since, gave_up.exists())
    return list(connection.scalars(statement))
