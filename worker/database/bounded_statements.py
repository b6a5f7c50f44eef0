"""Statements that end when they take too long, in a transaction that continues."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

_SQLITE_STEPS = 10_000
"""How many steps of its machine SQLite takes between two readings of the clock: about a millisecond."""
_CANCELLED = "57014"
_MARIADB_TIMEOUT = 1969


class TookTooLong(Exception):
    """A statement was ended because it took too long."""


@contextmanager
def bounded(connection: Connection, seconds: float | None) -> Iterator[None]:
    """End a statement that takes longer than this many seconds: raise TookTooLong. None: no statement is ended.

    For statements that only read. Read all rows before the context ends: SQLite finds them while they are read.
    """
    if seconds is None:
        yield
        return
    bound = {"postgresql": _bound_postgresql, "sqlite": _bound_sqlite}.get(connection.dialect.name, _bound_mariadb)
    try:
        with bound(connection, seconds):
            yield
    except DBAPIError as error:
        if _is_end(error.orig):
            raise TookTooLong from error
        raise


@contextmanager
def _bound_postgresql(connection: Connection, seconds: float) -> Iterator[None]:
    # An error ends the transaction, or the savepoint, whose end restores the limit that was there before.
    with connection.begin_nested() as savepoint:
        connection.execute(text(f"SET LOCAL statement_timeout = {max(1, round(seconds * 1000))}"))
        yield
        savepoint.rollback()


@contextmanager
def _bound_mariadb(connection: Connection, seconds: float) -> Iterator[None]:
    def limit(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> tuple[str, Any]:
        return f"SET STATEMENT max_statement_time = {seconds:f} FOR {statement}", parameters

    event.listen(connection, "before_cursor_execute", limit, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", limit)


@contextmanager
def _bound_sqlite(connection: Connection, seconds: float) -> Iterator[None]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    until = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > until, _SQLITE_STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def _is_end(cause: BaseException | None) -> bool:
    return (
        getattr(cause, "sqlstate", None) == _CANCELLED
        or getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
        or (cause is not None and cause.args[:1] == (_MARIADB_TIMEOUT,))
    )
