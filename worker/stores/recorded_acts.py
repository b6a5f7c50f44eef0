"""What operators did, and the orders that a filter of theirs selects."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from worker.database.bulk_statements import insert_rows
from worker.database.tables import ACTS, EVENTS, ORDERS, UNRESOLVED
from worker.domain.records.acts import ActEntry
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention
from worker.stores.newest_first import ROWS_AT_ONCE, every_row


def add_acts(connection: Connection, entries: Iterable[ActEntry]) -> None:
    """Append the records of acts."""
    insert_rows(connection, ACTS, [asdict(entry) for entry in entries])


def add_act(connection: Connection, entry: ActEntry) -> int:
    """Append the record of an act; returns its id."""
    key = connection.execute(insert(ACTS).values(asdict(entry))).inserted_primary_key
    assert key is not None
    return int(key.id)


def set_detail(connection: Connection, act_id: int, detail: str) -> None:
    """Say what an act has done by now."""
    connection.execute(update(ACTS).where(ACTS.c.id == act_id).values(detail=detail))


def recent_acts(
    connection: Connection, *, limit: int, accounts: Sequence[str] = (), after: int | None = None
) -> list[dict[str, Any]]:
    """The newest acts, newest first: those about all accounts and about these, or any where none is named; from before
    the act `after`."""
    newest = select(ACTS).order_by(ACTS.c.id.desc()).limit(limit)
    if after is not None:
        newest = newest.where(ACTS.c.id < after)
    statements = [newest]
    if accounts:
        # One read of the index for each: together they would be looked for through the whole table.
        statements = [newest.where(ACTS.c.account == account) for account in {*accounts}]
        statements.append(newest.where(ACTS.c.account.is_(None)))
    found = [dict(row) for statement in statements for row in connection.execute(statement).mappings()]
    return sorted(found, key=lambda row: -int(row["id"]))[:limit]


def every_act(connection: Connection, accounts: Sequence[str], after: int | None) -> Iterator[dict[str, Any]]:
    """All acts, newest first; a page is held at a time."""
    return every_row(lambda last: recent_acts(connection, limit=ROWS_AT_ONCE, accounts=accounts, after=last), after)


def unresolved_since(connection: Connection, since: datetime | None, accounts: Collection[str]) -> list[int]:
    """The ids of these accounts' orders that are unresolved and became so at this time or later; None: at any."""
    statement = select(ORDERS.c.id).where(UNRESOLVED, ORDERS.c.account.in_(accounts))
    if since is not None:
        gave_up = (
            select(EVENTS.c.id)
            .where(EVENTS.c.order_id == ORDERS.c.id, EVENTS.c.kind == EventKind.GAVE_UP, EVENTS.c.at >= since)
            .limit(1)
            .scalar_subquery()
        )
        # What was changed last before that time cannot have become unresolved after it: most are left out by this.
        # By LIMIT and not by EXISTS, which a database may answer by reading the events of all orders.
        statement = statement.where(ORDERS.c.updated_at >= since, gave_up.is_not(None))
    return sorted(connection.scalars(statement))


def with_attention(connection: Connection, reason: Attention, account: str | None) -> list[int]:
    """The ids of the orders with this attention, of one account or of all. An archived order has none."""
    # As its partial index has it: without the first condition no database uses that.
    statement = select(ORDERS.c.id).where(ORDERS.c.attention.is_not(None), ORDERS.c.attention == reason)
    if account is not None:
        statement = statement.where(ORDERS.c.account == account)
    return sorted(connection.scalars(statement))
