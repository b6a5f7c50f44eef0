"""Lists, a page at a time: one statement for a page, by the time and the id of the last row of the page before.

A page that takes longer than two seconds has what is found among the next 50,000 rows of the list, and says so; it has
nothing if that takes longer than two seconds as well.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, and_, literal, or_, select, tuple_, union
from sqlalchemy.sql.expression import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from worker.database.bounded_statements import TookTooLong, bounded
from worker.database.bulk_statements import one_of

T = TypeVar("T", covariant=True)
Key = tuple[Any, ...]
"""The position of a row in the list: its time, if the list is by time, and its id."""
Filters = Callable[[Any], Sequence[ColumnElement[bool]]]
"""Makes conditions on these columns."""

ROWS_AT_ONCE = 1_000
"""How many rows of a complete list are read at once."""
PAGE_SECONDS = 2.0
"""How long the statement of a page may take."""

_IDS_AT_ONCE = 500
_MARIADB = ("mysql", "mariadb")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Rows that an index has in the order of a list, newest first as a rule."""

    key: Sequence[Column[Any]]
    columns: Sequence[ColumnElement[Any]] = ()
    """The other columns that the filters read."""
    within: Sequence[ColumnElement[bool]] = ()
    """Conditions that the index serves."""
    filters: Filters = lambda _: ()
    is_oldest_first: bool = False
    newest: int = 50_000
    """How many rows are searched if the search of all takes too long."""

    def keys(self, connection: Connection, after: Key | None, most: int, *, is_partial: bool) -> Select[Any]:
        """The statement for the keys of the next `most` rows after a key, or of the first ones. A partial search
        reads no more than the next `newest` rows."""
        source = self._after(connection, after, *(_apart(connection, column) for column in self.columns))
        if is_partial:
            source = self.ordered(source, self.key).limit(self.newest)
        rows = source.subquery()
        key = [rows.c[column.name] for column in self.key]
        return self.ordered(select(*key).where(*self.filters(rows.c)), key).limit(most)

    def end(self, connection: Connection, after: Key | None) -> Key | None:
        """The key of the last row that a partial search reads; None if the source has fewer rows than that."""
        last = self.ordered(self._after(connection, after), self.key).offset(self.newest - 1).limit(1)
        found = connection.execute(last).first()
        return None if found is None else tuple(found)

    def _after(self, connection: Connection, after: Key | None, *columns: ColumnElement[Any]) -> Select[Any]:
        source = select(*self.key, *columns).where(*self.within)
        if after is None:
            return source
        return source.where(further_than(connection, self.key, after, is_oldest_first=self.is_oldest_first))

    def ordered(self, statement: Select[Any], key: Iterable[ColumnElement[Any]]) -> Select[Any]:
        """The statement with its rows in the order of the list."""
        return statement.order_by(*(column if self.is_oldest_first else column.desc() for column in key))


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list."""

    rows: Sequence[T]
    next_after: int | None = None
    """The id after which the next page begins; None at the end of the list."""
    is_partial: bool = False
    """Whether the search took too long, so that the page has what a part of the rows gave."""


def page_of(rows: Sequence[T], keys: Sequence[Key], most: int, is_partial: bool) -> Page[T]:
    """The page of rows that `read_keys` found."""
    return Page(rows=rows, next_after=keys[-1][-1] if len(keys) >= most else None, is_partial=is_partial)


def every_row(read: Callable[..., Page[T]], after: int | None = None, *, at_once: int = ROWS_AT_ONCE) -> Iterator[T]:
    """All rows of a list after the row `after`, of which a page is held at a time.

    `read` reads a page, by `after`, `most` and `seconds`. In one snapshot they are the rows of one moment.
    """
    while True:
        page = read(after=after, most=at_once, seconds=None)
        yield from page.rows
        if page.next_after is None:
            return
        if page.next_after == after:
            raise RuntimeError(f"the list does not go on behind the row {after}")
        after = page.next_after


def read_keys(
    connection: Connection, sources: Sequence[Source], *, after: Key | None, most: int, seconds: float | None
) -> tuple[list[Key], bool]:
    """The keys of the next `most` rows after a key, or of the first ones, and whether the search took longer than this
    many seconds (None: it may) and was given up for one among fewer rows."""

    def read(*, is_partial: bool) -> list[Key]:
        statement = keys_of(connection, sources, after=after, most=most, is_partial=is_partial)
        return [tuple(row) for row in connection.execute(statement)]

    try:
        with bounded(connection, seconds):
            return read(is_partial=False), False
    except TookTooLong:
        pass
    try:
        with bounded(connection, PAGE_SECONDS):
            return _searched_by_all(connection, sources, after, read(is_partial=True)), True
    except TookTooLong:
        return [], True


def _searched_by_all(
    connection: Connection, sources: Sequence[Source], after: Key | None, keys: Sequence[Key]
) -> list[Key]:
    """The keys up to the first end of a source's search: behind it rows of that source may be missing."""
    ends = [end for source in sources if len(sources) > 1 and (end := source.end(connection, after))]
    if not ends:
        return [*keys]
    if sources[0].is_oldest_first:
        return [key for key in keys if key <= min(ends)]
    return [key for key in keys if key >= max(ends)]


def keys_of(
    connection: Connection,
    sources: Sequence[Source],
    *,
    after: Key | None = None,
    most: int,
    is_partial: bool = False,
) -> Select[Any]:
    """The statement for the keys of the next `most` rows of all sources. Each source is read up to `most` of its rows,
    by its own index; a row of several sources counts once."""
    parts = [source.keys(connection, after, most, is_partial=is_partial) for source in sources]
    if len(parts) == 1:
        return parts[0]
    found = union(*(select(part.subquery()) for part in parts)).subquery()
    return sources[0].ordered(select(found), found.c).limit(most)


def _apart(connection: Connection, column: Any) -> ColumnElement[Any]:
    """A column that SQLite searches no index for: it would rather sort all orders of a state than read the list."""
    if connection.dialect.name != "sqlite":
        return column  # type: ignore[no-any-return]
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type).label(column.name)


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
