"""Read refused input and unmatched callbacks, as lists and one by one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from worker.database.tables import REJECTED, UNMATCHED
from worker.domain.finance.report import Period
from worker.domain.records.sentences import from_json
from worker.views.page import PAGE_SECONDS, Bound, Listed, Page, apart, between, read_page, rows_by_id

Row = dict[str, Any]

SEARCHED_CHARACTERS = 1_000
"""How many characters at the start of a payload are searched for a text."""
LONG_ROWS_AT_ONCE = 20
"""How many rows are read at once from a list whose texts may have a million characters each."""
_SEARCHED = 2_000


def recent_rejected(
    connection: Connection,
    *,
    sources: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    holding: str | None = None,
    only_open: bool = False,
    after: int | None,
    most: int,
    seconds: Bound = PAGE_SECONDS,
) -> Page[Row]:
    """The refused rows that match, last received first. They were received at `since` or later, and before `until`.
    They have the text `holding` near the start of their payload."""

    within = between(REJECTED.c.received_at, since, until) + ([REJECTED.c.is_open] if only_open else [])
    columns = apart(connection, REJECTED)
    filters = [columns.source.in_(sources)] if sources else []
    if holding:
        # A payload may have a million characters, so only its start is searched.
        filters.append(func.substr(columns.payload, 1, SEARCHED_CHARACTERS).contains(holding, autoescape=True))
    return _recent(connection, REJECTED, within, filters, after, most, seconds)


def open_rejected_ids(connection: Connection, sources: Sequence[str], days: Period) -> Sequence[int]:
    """The ids of all open refused rows from these sources that were received on these days, first received first."""
    key = (REJECTED.c.received_at, REJECTED.c.id)
    received = (REJECTED.c.is_open, key[0] >= days.start, key[0] < days.end, REJECTED.c.source.in_(sources))
    return connection.scalars(select(REJECTED.c.id).where(*received).order_by(*key)).all()


def recent_unmatched(
    connection: Connection,
    *,
    accounts: Sequence[str] = (),
    before: datetime | None = None,
    after: int | None,
    most: int,
    seconds: Bound = PAGE_SECONDS,
) -> Page[Row]:
    """The unmatched callbacks that match the filters, last received first."""
    within = between(UNMATCHED.c.received_at, None, before)
    of_accounts = [apart(connection, UNMATCHED).account.in_(accounts)] if accounts else []
    return _recent(connection, UNMATCHED, within, of_accounts, after, most, seconds)


def unmatched_with_id(connection: Connection, number: str, most: int) -> list[Row]:
    """The unmatched callbacks, of any account, whose requestId or customParm is `number`; last received first."""
    ids: set[int] = set()
    # Each of the two ids has an index that begins with it, so each has a statement of its own.
    for column in (UNMATCHED.c.request_id, UNMATCHED.c.custom_parm):
        ids.update(connection.scalars(select(UNMATCHED.c.id).where(column == number).limit(most)))
    return rows_by_id(connection, UNMATCHED, sorted(ids, reverse=True)[:most], UNMATCHED.c)


def rejected_by_id(connection: Connection, rejected_id: int) -> Row | None:
    """The refused row with this id, with all columns; None if there is none."""
    return next(iter(_in_sentences(rows_by_id(connection, REJECTED, [rejected_id], REJECTED.c))), None)


def unmatched_by_id(connection: Connection, unmatched_id: int) -> Row | None:
    """The unmatched callback with this id, with all columns; None if there is none."""
    return next(iter(rows_by_id(connection, UNMATCHED, [unmatched_id], UNMATCHED.c)), None)


def _recent(
    connection: Connection,
    table: Table,
    within: Sequence[ColumnElement[bool]],
    filters: Sequence[ColumnElement[bool]],
    after: int | None,
    most: int,
    seconds: Bound,
) -> Page[Row]:
    key = [table.c.received_at, table.c.id]
    last = None
    if after is not None:
        found = connection.execute(select(*key).where(table.c.id == after)).first()
        if found is None:
            # The row `after` was retried, matched or purged meanwhile. The page then begins after the next smaller id:
            # rows have nearly the same order by id as by time.
            older = select(*key).where(table.c.id < after).order_by(table.c.id.desc()).limit(1)
            found = connection.execute(older).first()
            within = [*within, table.c.id < after]
        last = None if found is None else tuple(found)
    listed = Listed(key=key, within=within, filters=filters, newest=_SEARCHED)
    page = read_page(connection, listed, table, table.c, after=last, most=most, seconds=seconds)
    return page if table is UNMATCHED else replace(page, rows=_in_sentences(page.rows))


def _in_sentences(rows: Sequence[Row]) -> list[Row]:
    """Refused rows. The `errors` of each become one `Sentence`, which has a part for each line."""
    return [{**row, "errors": from_json(row["errors"], row.pop("errors_said"))} for row in rows]
