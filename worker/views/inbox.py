"""Refused input and unmatched callbacks, as lists and one by one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from worker.database.bulk_statements import one_of
from worker.database.tables import REJECTED, UNMATCHED
from worker.views.page import SECONDS, Filters, Page, Walk, page_of, read_keys

Row = dict[str, Any]

_INDEXES = {
    REJECTED.name: "ix_rejected_orders_received_at",
    UNMATCHED.name: "ix_unmatched_callbacks_received_at",
}
_ROWS_AT_ONCE = 500
LONG_ROWS_AT_ONCE = 20
"""How many rows of texts that may have a million characters are read at once."""


def recent_rejected(
    connection: Connection,
    *,
    sources: Sequence[str] = (),
    since: datetime | None = None,
    after: int | None,
    most: int,
    seconds: float = SECONDS,
) -> Page[Row]:
    """The refused rows that match, the last received first."""

    def came_from(columns: Any) -> list[ColumnElement[bool]]:
        return [columns.source.in_(sources)] if sources else []

    within = [] if since is None else [REJECTED.c.received_at >= since]
    return _recent(connection, REJECTED, within, came_from, [REJECTED.c.source], after, most, seconds)


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
    return _recent(connection, UNMATCHED, within, of_accounts, [UNMATCHED.c.account], after, most, seconds)


def rejected_by_id(connection: Connection, rejected_id: int) -> Row | None:
    """A refused row, whole."""
    found = connection.execute(select(REJECTED).where(REJECTED.c.id == rejected_id)).mappings().first()
    return None if found is None else dict(found)


def _recent(
    connection: Connection,
    table: Table,
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
    walk = Walk(table=table, index=_INDEXES[table.name], key=key, columns=columns, within=within)
    keys, stopped_at = read_keys(connection, walk, filters, after=last, most=most, seconds=seconds)
    return page_of(_rows(connection, table, [key[1] for key in keys]), keys, most, stopped_at)


def _rows(connection: Connection, table: Table, ids: Sequence[int]) -> list[Row]:
    found: dict[int, Row] = {}
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        chosen = select(table).where(one_of(connection, table.c.id, ids[start : start + _ROWS_AT_ONCE]))
        found.update((row["id"], dict(row)) for row in connection.execute(chosen).mappings())
    return [found[row_id] for row_id in ids if row_id in found]
