"""Lists of the newest rows, read along an index, backwards as a rule, within a bounded time whatever the filters are.

What an index does not serve is filtered in the order of the list: a part of the index at a time, until the page is
full or the time is up. A page that ended early says how far it came, and the next one goes on from there.
"""

import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, and_, literal, or_, select, tuple_

from worker.database.bulk_statements import one_of

T = TypeVar("T", covariant=True)
Key = tuple[Any, ...]
"""Where a row stands in the list: the values of the index's columns, the row's id last."""
Filters = Callable[[Any], Sequence[ColumnElement[bool]]]
"""Makes the conditions on these columns that no index serves."""

ROWS_AT_ONCE = 1_000
"""How many rows of a complete list are read at once."""
WITHOUT_END = math.inf
"""The time for a search that has to be complete."""
SECONDS = 0.5
"""How long a table is searched for a list: commands answer within two seconds."""

_IDS_AT_ONCE = 500
_LARGEST_PART = 50_000
_MARIADB = ("mysql", "mariadb")


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """An index to read backwards, or forwards."""

    table: Table
    index: str | None
    """Its name; None for the primary key."""
    key: Sequence[Column[Any]]
    columns: Sequence[ColumnElement[Any]] = ()
    """The others that filters read."""
    within: Sequence[ColumnElement[bool]] = field(default=())
    """Conditions that the index serves."""
    has_id: bool = True
    """Whether the index has the row's id right behind the time. Else the rows of one moment are read together."""
    is_oldest_first: bool = False
    """Whether it is read forwards; only with the id."""
    first_part: int = 250
    """How many rows are searched at least. MariaDB reads all of a part, however few a page takes of it."""

    def ordered(self, key: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        """The columns of the key as the rows are ordered by them."""
        return list(key) if self.is_oldest_first else [column.desc() for column in key]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list, newest first."""

    rows: Sequence[T]
    next_after: int | None = None
    """The id behind which the list goes on; None at its end."""
    is_stopped: bool = False
    """Whether time ran out before the page was full: the list was searched up to `next_after`."""
    stopped_at: datetime | None = None
    """The time in the list up to which it was searched, where it is a list by time."""


def page_of(rows: Sequence[T], keys: Sequence[Key], most: int, stopped_at: Key | None = None) -> Page[T]:
    """The page of rows that were found by these keys; `stopped_at` is the key up to which was searched."""
    if len(keys) >= most:
        return Page(rows=rows, next_after=keys[-1][-1])
    if stopped_at is None:
        return Page(rows=rows)
    time = stopped_at[0] if len(stopped_at) > 1 else None
    return Page(rows=rows, next_after=stopped_at[-1], is_stopped=True, stopped_at=time)


def every_row(read: Callable[..., Page[T]], after: int | None = None, *, at_once: int = ROWS_AT_ONCE) -> Iterator[T]:
    """All rows of a list behind the row `after`, of which a page is held at a time.

    `read` reads a page, by `after`, `most` and `seconds`. In one snapshot they are the rows of one moment.
    """
    while True:
        page = read(after=after, most=at_once, seconds=WITHOUT_END)
        yield from page.rows
        if page.next_after is None:
            return
        if page.next_after == after:
            raise RuntimeError(f"the list does not go on behind the row {after}")
        after = page.next_after


def read_keys(
    connection: Connection, walk: Walk, filters: Filters, *, after: Key | None, most: int, seconds: float = SECONDS
) -> tuple[list[Key], Key | None]:
    """The keys of the next `most` rows after a key, or from the newest on, that pass the filters.

    And how far the list was read, where time ran out before so many were found; None where it was not.
    """
    until, part, found = time.monotonic() + seconds, max(walk.first_part, most), list[Key]()
    # A part that has begun is read to its end: it must not take much longer than there is time.
    largest = max(part, int(_LARGEST_PART * min(1.0, seconds / SECONDS)))
    while True:
        last = None if walk.has_id else _last_of_part(connection, walk, after, part)
        whole = _part(connection, walk, after)
        # Sorted by their ids: an index without them gives the rows of one moment in any order.
        limited = whole.limit(part) if walk.has_id or last is None else whole.where(walk.key[0] >= last[0])
        rows = limited.subquery()
        key = [rows.c[column.name] for column in walk.key]
        passed = select(*key).where(*filters(rows.c)).order_by(*walk.ordered(key))
        found += [tuple(row) for row in connection.execute(passed.limit(most - len(found)))]
        if len(found) == most:
            return found, None
        # Not sooner: most often a page is full by then.
        last = last or _last_of_part(connection, walk, after, part)
        if last is None:
            return found, None
        after = last
        if time.monotonic() > until:
            return found, after
        part = min(4 * part, largest)


def rows_by_id(
    connection: Connection, table: Table, ids: Sequence[int], columns: Iterable[Column[Any]]
) -> list[dict[str, Any]]:
    """These columns, with the id, of the rows of a table with these ids, in this order; without those that are gone."""
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        chosen = select(*columns).where(one_of(connection, table.c.id, ids[start : start + _IDS_AT_ONCE]))
        found.update((row["id"], dict(row)) for row in connection.execute(chosen).mappings())
    return [found[row_id] for row_id in ids if row_id in found]


def further_than(
    connection: Connection, columns: Sequence[ColumnElement[Any]], key: Key, *, is_oldest_first: bool = False
) -> ColumnElement[bool]:
    """Whether a row comes after a key in the list."""
    values = [literal(value, column.type) for value, column in zip(key, columns, strict=True)]
    compare, compare_first = (operator.gt, operator.ge) if is_oldest_first else (operator.lt, operator.le)
    further: ColumnElement[bool]
    if len(columns) == 1:
        further = compare(columns[0], values[0])
    elif connection.dialect.name not in _MARIADB:
        further = compare(tuple_(*columns), tuple_(*values))
    else:
        # MariaDB reads no index by a comparison of rows.
        in_time = compare_first(columns[0], values[0])
        further = and_(in_time, or_(compare(columns[0], values[0]), compare(columns[1], values[1])))
    return further


def _last_of_part(connection: Connection, walk: Walk, after: Key | None, part: int) -> Key | None:
    """The key of the last one of so many rows, or of the last one of its moment; None where fewer are left."""
    row = connection.execute(_part(connection, walk, after, only_key=True).offset(part - 1).limit(1)).first()
    if row is not None and not walk.has_id:
        same = select(*walk.key).where(*walk.within, walk.key[0] == row[0])
        row = connection.execute(same.order_by(walk.key[-1]).limit(1)).first()
    return None if row is None else tuple(row)


def _part(connection: Connection, walk: Walk, after: Key | None, *, only_key: bool = False) -> Select[Any]:
    columns = walk.key if only_key else [*walk.key, *walk.columns]
    order = walk.key if walk.has_id else walk.key[:1]
    statement = select(*columns).where(*walk.within).order_by(*walk.ordered(order))
    if after is not None:
        statement = statement.where(further_than(connection, walk.key, after, is_oldest_first=walk.is_oldest_first))
    for dialect in _MARIADB if walk.index else ():
        # Where a part is large, MariaDB would rather read the whole table and sort it.
        statement = statement.with_hint(walk.table, f"FORCE INDEX ({walk.index})", dialect)
    return statement
