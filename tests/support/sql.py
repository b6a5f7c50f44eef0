"""Statements on a database that its URL names, past the project's own code: each commits by itself."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool


@contextmanager
def session(url: str) -> Iterator[sqlalchemy.Connection]:
    """A session of its own; `exec_driver_sql` of it takes the statements as they are."""
    with _engine(url).connect() as connection:
        yield connection


@functools.lru_cache(maxsize=100)
def _engine(url: str) -> sqlalchemy.Engine:
    # Kept, as making one takes longer than a statement; it keeps no connection.
    return sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def execute(url: str, *statements: str) -> None:
    """Run statements, one after the other."""
    with session(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement).close()


def rows_of(url: str, statement: str) -> list[Any]:
    """What a statement returns."""
    with session(url) as connection:
        return list(connection.exec_driver_sql(statement).all())


def column_of(url: str, statement: str) -> list[Any]:
    """The first column of what a statement returns."""
    return [row[0] for row in rows_of(url, statement)]


def pairs_of(url: str, statement: str) -> dict[Any, Any]:
    """The second column of what a statement returns, by the first."""
    return {row[0]: row[1] for row in rows_of(url, statement)}


def insert_rows(url: str, table: str, *rows: Mapping[str, object]) -> None:
    """Insert rows, each with columns of its own."""
    with session(url) as connection:
        for row in rows:
            columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(sqlalchemy.text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), dict(row))


@contextmanager
def statements_of(
    source: sqlalchemy.Engine | type[sqlalchemy.Engine] | sqlalchemy.Connection,
) -> Iterator[list[tuple[str, Any]]]:
    """Yields the statements of an engine, of all engines, or of a connection as they come, with their parameters."""
    found: list[tuple[str, Any]] = []

    def record(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            found.append((statement, parameters))

    sqlalchemy.event.listen(source, "before_cursor_execute", record)
    try:
        yield found
    finally:
        sqlalchemy.event.remove(source, "before_cursor_execute", record)
