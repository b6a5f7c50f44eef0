"""Refused input and unmatched callbacks, as lists and one by one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from worker.database.tables import REJECTED, UNMATCHED
from worker.domain.finance.report import Period
from worker.domain.records.sentences import from_json
from worker.views.page import SECONDS, Filters, Page, Walk, page_of, read_keys, rows_by_id

Row = dict[str, Any]

SEARCHED_CHARACTERS = 1_000
"""How many characters of a payload are searched for a text."""
LONG_ROWS_AT_ONCE = 20
"""How many rows of texts that may have a million characters are read at once."""
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
    seconds: float = SECONDS,
) -> Page[Row]:
    """The refused rows that match, the last received first; `until`: before then; `holding`: this text, near the start
    of their payload."""

    def conditions(columns: Any) -> list[ColumnElement[bool]]:
        came_from = [columns.source.in_(sources)] if sources else []
        return [*came_from, columns.start.contains(holding, autoescape=True)] if holding else came_from

    within: list[ColumnElement[bool]] = [REJECTED.c.is_open] if only_open else []
    within += [] if since is None else [REJECTED.c.received_at >= since]
    within += [] if until is None else [REJECTED.c.received_at < until]
    # A payload may have a million characters: two thousand of these are not read for a page.
    start = [func.substr(REJECTED.c.payload, 1, SEARCHED_CHARACTERS).label("start")] if holding else []
    index = "ix_rejected_orders_open" if only_open else "ix_rejected_orders_received_at"
    return _recent(connection, REJECTED, index, within, conditions, [REJECTED.c.source, *start], after, most, seconds)


def open_rejected_ids(connection: Connection, sources: Sequence[str], days: Period) -> Sequence[int]:
    """The ids of all open refused rows of these sources that were received on these days, the first one first."""
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
    seconds: float = SECONDS,
) -> Page[Row]:
    """The unmatched callbacks that match, the last received first."""

    def of_accounts(columns: Any) -> list[ColumnElement[bool]]:
        return [columns.account.in_(accounts)] if accounts else []

    within = [] if before is None else [UNMATCHED.c.received_at < before]
    index = "ix_unmatched_callbacks_received_at"
    return _recent(connection, UNMATCHED, index, within, of_accounts, [UNMATCHED.c.account], after, most, seconds)


def unmatched_with_id(connection: Connection, number: str, most: int) -> list[Row]:
    """The unmatched callbacks of any account whose requestId or customParm is this, the last received first."""
    ids: set[int] = set()
    # One statement for each index, which begin with the id.
    for column in (UNMATCHED.c.request_id, UNMATCHED.c.custom_parm):
        ids.update(connection.scalars(select(UNMATCHED.c.id).where(column == number).limit(most)))
    return rows_by_id(connection, UNMATCHED, sorted(ids, reverse=True)[:most], UNMATCHED.c)


def rejected_by_id(connection: Connection, rejected_id: int) -> Row | None:
    """A refused row, whole."""
    return next(iter(_rows(connection, REJECTED, [rejected_id])), None)


def unmatched_by_id(connection: Connection, unmatched_id: int) -> Row | None:
    """An unmatched callback, whole."""
    return next(iter(rows_by_id(connection, UNMATCHED, [unmatched_id], UNMATCHED.c)), None)


def _recent(
    connection: Connection,
    table: Table,
    index: str,
    within: Sequence[ColumnElement[bool]],
    filters: Filters,
    columns: Sequence[Any],
    after: int | None,
    most: int,
    seconds: float,
) -> Page[Row]:
    key = [table.c.received_at, table.c.id]
    last = None
    if after is not None:
        found = connection.execute(select(*key).where(table.c.id == after)).first()
        if found is None:
            # It was retried, matched or purged meanwhile: rows follow their ids closely enough.
            older = select(*key).where(table.c.id < after).order_by(table.c.id.desc()).limit(1)
            found = connection.execute(older).first()
            within = [*within, table.c.id < after]
        last = None if found is None else tuple(found)
    walk = Walk(table=table, index=index, key=key, columns=columns, within=within, first_part=_SEARCHED)
    keys, stopped_at = read_keys(connection, walk, filters, after=last, most=most, seconds=seconds)
    return page_of(_rows(connection, table, [key[1] for key in keys]), keys, most, stopped_at)


def _rows(connection: Connection, table: Table, ids: Sequence[int]) -> list[Row]:
    """Rows by id; what is wrong with refused input as `lines_of` sentences."""
    rows = rows_by_id(connection, table, ids, table.c)
    for row in rows if table is REJECTED else ():
        row["errors"] = from_json(row["errors"], row.pop("errors_said"))
    return rows
