"""What operators did, newest first."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from worker.database.tables import ACTS
from worker.views.page import ROWS_AT_ONCE, every_row


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
