"""Statements that read or write many rows at once.

PostgreSQL receives the rows as one JSON parameter. For 500 orders this took half as long as one statement for each row,
even though the driver pipelines such statements, and less than half of the processor time in our process. The other
databases use `executemany`.

If the texts of a column contain no comma, as ids do, they are sent as one comma-separated text. To write and read them
as an array or as JSON would take several times as long.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Select,
    Table,
    Text,
    Update,
    any_,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.types import TypeEngine

Rows = Sequence[Mapping[str, Any]]
Value = Callable[[str], ColumnElement[Any]]

_PARAMETER = "rows"
# At most this many statements are joined into one union; SQLite's limit is 500.
_READS_AT_ONCE = 100


def one_of(connection: Connection, column: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """The condition that a column has one of these values. PostgreSQL receives the values as a single array
    parameter."""
    if _is_postgresql(connection):
        return column == any_(bindparam(None, list(values), ARRAY(column.type)))
    return column.in_(values)


def is_one_of(kind: str, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The condition that a column has one of the values in a list, for a statement that is made once for a kind of
    database. The list is the statement's parameter `name`."""
    if kind == "postgresql":
        return column == any_(bindparam(name, type_=ARRAY(column.type)))
    return column.in_(bindparam(name, expanding=True))


def held_of(connection: Connection, column: ColumnElement[Any], values: Collection[str]) -> Select[Any]:
    """Select those of these values that occur in a column. PostgreSQL makes one index lookup for each value."""
    if not _is_postgresql(connection):
        return select(column).where(column.in_(values)).distinct()
    listed = func.unnest(bindparam(None, list(values), ARRAY(column.type)))
    wanted = listed.table_valued("value", name="wanted").render_derived()
    found = select(column).where(column == wanted.c.value).limit(1).lateral("found")
    return select(wanted.c.value).select_from(wanted).join(found, true())


def ids_of(
    connection: Connection, table: Table, column: str, values: Collection[str], *, account: str, most: int
) -> Select[Any]:
    """Select the ids of those rows of an account that have one of these values in a column. On PostgreSQL at most
    `most` ids are selected for each value.

    The statement for PostgreSQL is written so that it makes one index lookup for each value. With a simpler statement,
    PostgreSQL was measured to read all rows of the account for each list of values, as long as it had no statistics of
    the table (after a new deployment or a restore).
    """
    if not _is_postgresql(connection):
        return select(table.c.id).where(table.c.account == account, table.c[column].in_(values))
    listed = func.unnest(func.string_to_array(bindparam(None, ",".join(values), Text()), ","))
    wanted = listed.table_valued("value", name="wanted").render_derived()
    is_wanted = (table.c[column] == wanted.c.value) & (table.c.account == account)
    found = select(table.c.id).where(is_wanted).limit(most).lateral("found")
    return select(found.c.id).select_from(wanted).join(found, true())


def found_by(connection: Connection, reads: Sequence[Select[Any]]) -> set[Any]:
    """All values that these statements find. Each statement selects one column. Up to 100 statements run as one
    union."""
    found: set[Any] = set()
    for start in range(0, len(reads), _READS_AT_ONCE):
        found.update(connection.scalars(union_all(*reads[start : start + _READS_AT_ONCE])))
    return found


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that all have the same columns."""
    if not rows:
        return
    if _is_postgresql(connection):
        connection.execute(_insertion(table, tuple(rows[0])), {_PARAMETER: _as_json(rows)})
    else:
        connection.execute(insert(table), rows)


def inserts_what_is_new(connection: Connection) -> bool:
    """Whether this database supports `insert_new`."""
    return _is_postgresql(connection)


def insert_new(
    connection: Connection,
    table: Table,
    columns: Mapping[str, Sequence[str | None]],
    shared: Mapping[str, Any],
    returned: Sequence[str],
) -> list[tuple[Any, ...]]:
    """Insert the rows that violate no unique index, and skip the other rows; works on PostgreSQL only.

    `columns` has, for each column, a text for each row. PostgreSQL casts the texts to the column's type; None becomes
    NULL. The texts must not be empty or contain a comma. `shared` has the values that all rows have in common. Returns
    the columns `returned` of the inserted rows.
    """
    values = {f"new_{name}": ",".join(text or "" for text in texts) for name, texts in columns.items()}
    statement = _insertion_of_new(table, tuple(columns), tuple(shared), tuple(returned))
    return [tuple(row) for row in connection.execute(statement, {**values, **shared})]


class RowUpdate:
    """An update of many rows, each with its own values."""

    def __init__(self, build: Callable[[Value], Update], types: Mapping[str, TypeEngine[Any]]) -> None:
        """`build` makes the statement. It is given a function that returns a value's placeholder in the statement for
        the value's name. `types` are the types of the values, by name."""
        self._each = build(bindparam)
        source = _rows_of(types)
        self._all = build(lambda name: source.c[name])

    def execute(self, connection: Connection, rows: Rows) -> int:
        """Run the update. Returns how many rows of the table were updated; -1 if the driver does not count them."""
        if _is_postgresql(connection):
            return connection.execute(self._all, {_PARAMETER: _as_json(rows)}).rowcount
        return connection.execute(self._each, rows).rowcount


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


@cache
def _insertion(table: Table, names: tuple[str, ...]) -> Insert:
    source = _rows_of({name: table.c[name].type for name in names})
    return insert(table).from_select(names, select(*source.c))


@cache
def _insertion_of_new(
    table: Table, names: tuple[str, ...], shared: tuple[str, ...], returned: tuple[str, ...]
) -> Insert:
    # string_to_array turns each empty text into NULL.
    texts = [func.string_to_array(bindparam(f"new_{name}", type_=Text()), ",", "") for name in names]
    source = func.unnest(*texts).table_valued(*names, name="new").render_derived()
    values: list[ColumnElement[Any]] = [cast(source.c[name], table.c[name].type) for name in names]
    values += [bindparam(name, type_=table.c[name].type) for name in shared]
    insertion = postgresql_insert(table).from_select([*names, *shared], select(*values))
    return insertion.on_conflict_do_nothing().returning(*(table.c[name] for name in returned))


def _rows_of(types: Mapping[str, TypeEngine[Any]]) -> Any:
    """The JSON parameter as a table with columns of these types."""
    columns = [column(name, type_) for name, type_ in types.items()]
    records = func.json_to_recordset(cast(bindparam(_PARAMETER, type_=Text()), JSON))
    return records.table_valued(*columns, name="new").render_derived(with_types=True)


def _as_json(rows: Rows) -> str:
    return json.dumps(rows, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise ValueError(f"a naive time has no place in the database: {value!r}")
    return str(value)
