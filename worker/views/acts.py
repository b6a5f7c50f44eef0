"""What operators did, newest first."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from worker.database.tables import ACTS
from worker.domain.records.coded_texts import with_code
from worker.views.page import SECONDS, Page, page_of

Row = dict[str, Any]


def recent_acts(
    connection: Connection,
    accounts: Sequence[str] = (),
    *,
    after: int | None = None,
    most: int,
    seconds: float = SECONDS,
) -> Page[Row]:
    """The newest acts: those about all accounts and about these, or any where none is named; from before the act
    `after`. Each account is a range of an index: no search takes `seconds`."""
    newest = select(ACTS).order_by(ACTS.c.id.desc()).limit(most)
    if after is not None:
        newest = newest.where(ACTS.c.id < after)
    statements = [newest]
    if accounts:
        # One read of the index for each: together they would be looked for through the whole table.
        statements = [newest.where(ACTS.c.account == account) for account in {*accounts}]
        statements.append(newest.where(ACTS.c.account.is_(None)))
    found = [with_code(row) for statement in statements for row in connection.execute(statement).mappings()]
    rows = sorted(found, key=lambda row: -int(row["id"]))[:most]
    return page_of(rows, [(row["id"],) for row in rows], most)
