"""Read lists page by page. One statement finds a page: the rows after the time and the id of the previous page's last
row.

If this search takes longer than two seconds, only the newest 50,000 rows are searched, and the page says so. They are
the newest rows even if the list is oldest first. If searching them also takes two seconds, the page is empty.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, and_, literal, or_, select, text, tuple_, union
from sqlalchemy.sql.expression import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from worker.database.bounded_statements import Countdown, countdown, read_within
from worker.database.bulk_statements import one_of

T = TypeVar("T", covariant=True)
Key = tuple[Any, ...]
"""The position of a row in the list: its time (if the list is by time) and its id."""

ROWS_AT_ONCE = 1_000
"""How many rows of a complete list are read at once."""
PAGE_SECONDS = 2.0
"""How many seconds the statements that search all rows for a page may take together. If they take longer, a search of
only the newest rows follows, with the same limit."""
Bound = float | None
"""How many seconds a search may take; None for no limit. A search that takes longer is partial."""


class OrNothing(float):
    """Seconds after which a search ends without rows. After a plain number it would search the newest rows alone."""


_IDS_AT_ONCE = 500
_MARIADB = ("mysql", "mariadb")
# Without statistics, for example after a restore, PostgreSQL expects each filter to match few rows. For each page it
# would then read and sort all rows that match. So sorting is turned off for a table without statistics.
_KEEP_ORDER = (
    "SELECT set_config('enable_sort', 'off', true) WHERE NOT EXISTS"
    " (SELECT FROM pg_stats WHERE schemaname = current_schema() AND tablename = :name)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A list of rows to read, newest first by default."""

    key: Sequence[ColumnElement[Any]]
    """The columns that the list is ordered by, the row's id last."""
    within: Sequence[ColumnElement[bool]] = ()
    """Conditions that can be searched in the index that has the list's order."""
    ranges: Sequence[Sequence[ColumnElement[bool]]] = ((),)
    """The list is made of one or more parts. For each part, the conditions that select its rows; an index has these
    rows in the list's order."""
    filters: Sequence[ColumnElement[bool]] = ()
    """All other conditions. Their columns come from `apart`."""
    is_oldest_first: bool = False
    hint: tuple[Table, str] | None = None
    """A table and an index hint for MariaDB. Without the hint, MariaDB would sort all rows for each page of a complete
    list."""
    has_few: bool = False
    """Whether a condition limits the list to a few row ids, so that the database may sort the rows."""
    newest: int = 50_000
    """How many of the newest rows are searched if the search of all rows takes too long."""

    def keys(
        self, connection: Connection, *, after: Key | None = None, newer_than: Key | None = None, most: int
    ) -> Select[Any]:
        """The statement for the keys of the first `most` rows that come after the key `after` and are newer than the
        key `newer_than`. A key of None sets no limit.

        At most `most` rows of each part are read, by the part's own index. A row in several parts counts once."""
        within = [*self.within]
        if after is not None:
            within.append(_comes_after(connection, self.key, after, is_oldest_first=self.is_oldest_first))
        if newer_than is not None:
            within.append(_comes_after(connection, self.key, newer_than, is_oldest_first=True))
        parts = [
            self._ordered(select(*self.key).where(*within, *part, *self.filters), self.key).limit(most)
            for part in self.ranges
        ]
        if self.hint and most >= ROWS_AT_ONCE and connection.dialect.name in _MARIADB:
            parts = [part.with_hint(*self.hint) for part in parts]
        if len(parts) == 1:
            return parts[0]
        found = union(*(select(part.subquery()) for part in parts)).subquery()
        return self._ordered(select(found), found.c).limit(most)

    def before_newest(self, connection: Connection) -> Key | None:
        """The key of the newest row that is older than the `newest` rows to search, regardless of parts and filters;
        None if there is no such row."""
        whole = replace(self, ranges=((),), filters=(), is_oldest_first=False)
        found = connection.execute(whole.keys(connection, most=1).offset(self.newest)).first()
        return None if found is None else tuple(found)

    def _ordered(self, statement: Select[Any], key: Iterable[ColumnElement[Any]]) -> Select[Any]:
        return statement.order_by(*(column if self.is_oldest_first else column.desc() for column in key))


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list."""

    rows: Sequence[T]
    next_after: int | None = None
    """The id after which the next page begins; None at the end of the list."""
    searched: int | None = None
    """How many of the newest rows were searched at most, if a search of all rows took too long; otherwise None."""

    @property
    def is_partial(self) -> bool:
        """Whether a search of all rows took too long, so that at most the newest rows were searched."""
        return self.searched is not None


def every_row(read: Callable[..., Page[T]], after: int | None = None, *, at_once: int = ROWS_AT_ONCE) -> Iterator[T]:
    """All rows of a list after the row `after`. Memory holds one page at a time.

    `read` reads a page, given `after`, `most` and `seconds`. If all calls of `read` read in the same snapshot, the rows
    are of one moment.
    """
    while True:
        page = read(after=after, most=at_once, seconds=None)
        yield from page.rows
        if page.next_after is None:
            return
        after = page.next_after


def read_page(
    connection: Connection,
    listed: Listed,
    table: Table,
    columns: Iterable[Column[Any]],
    *,
    after: Key | None,
    most: int,
    seconds: Bound,
    left: Countdown | None = None,
) -> Page[dict[str, Any]]:
    """These columns of the next `most` rows after a key; of the first rows if the key is None. `left` is the countdown
    of `seconds`; it must be given if earlier statements have used some of these seconds."""

    def find(older: Key | None) -> list[Key]:
        if connection.dialect.name == "postgresql" and not listed.has_few:
            connection.execute(text(_KEEP_ORDER), {"name": table.name})
        found = connection.execute(listed.keys(connection, after=after, newer_than=older, most=most))
        return [tuple(row) for row in found]

    left = left or countdown(seconds)
    keys = read_within(connection, left(), partial(find, None))
    searched = listed.newest if keys is None else None
    if keys is None and not isinstance(seconds, OrNothing):
        left = countdown(PAGE_SECONDS)
        older = read_within(connection, left(), partial(listed.before_newest, connection))
        keys = read_within(connection, left(), partial(find, older))
    keys = keys or []
    rows = rows_by_id(connection, table, [key[-1] for key in keys], columns)
    return Page(rows=rows, next_after=keys[-1][-1] if len(keys) >= most else None, searched=searched)


def apart(connection: Connection, table: Table) -> Any:
    """The table's columns for conditions, in a form for which SQLite uses no index. If it used one, it would for
    example sort all orders of an account instead of reading the list in its order."""
    if connection.dialect.name != "sqlite":
        return table.c
    plus = custom_op[Any]("+")
    return SimpleNamespace(**{one.name: UnaryExpression(one, operator=plus, type_=one.type) for one in table.c})


def between(column: Any, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """The conditions that the time in `column` is `since` or later, and before `until`. A bound of None sets no
    condition."""
    return [*([] if since is None else [column >= since]), *([] if until is None else [column < until])]


def rows_by_id(
    connection: Connection, table: Table, ids: Sequence[int], columns: Iterable[Column[Any]]
) -> list[dict[str, Any]]:
    """The rows of a table with these ids, in the order of `ids`. Rows that are gone are left out. `columns` must
    include the id."""
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        chosen = select(*columns).where(one_of(connection, table.c.id, ids[start : start + _IDS_AT_ONCE]))
        found.update((row["id"], dict(row)) for row in connection.execute(chosen).mappings())
    return [found[row_id] for row_id in ids if row_id in found]


def _comes_after(
    connection: Connection, columns: Sequence[ColumnElement[Any]], key: Key, *, is_oldest_first: bool
) -> ColumnElement[bool]:
    values = [literal(value, column.type) for value, column in zip(key, columns, strict=True)]
    compare, compare_first = (operator.gt, operator.ge) if is_oldest_first else (operator.lt, operator.le)
    further: ColumnElement[bool]
    if len(columns) == 1:
        further = compare(columns[0], values[0])
    elif connection.dialect.name not in _MARIADB:
        further = compare(tuple_(*columns), tuple_(*values))
    else:
        # MariaDB does not use an index for a comparison of row values.
        in_time = compare_first(columns[0], values[0])
        further = and_(in_time, or_(compare(columns[0], values[0]), compare(columns[1], values[1])))
    return further
