"""Statements that end when they take too long, in a transaction that continues."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")
Countdown = Callable[[], float | None]

_SQLITE_STEPS = 10_000
"""How many steps of its machine SQLite takes between two readings of the clock: about a millisecond."""
_CANCELLED = "57014"
_MARIADB_TIMEOUT = 1969


def bounded(connection: Connection, seconds: float | None) -> AbstractContextManager[None]:
    """End a statement that takes longer than this many seconds (None: none is ended), with the driver's error. SQLite
    counts the seconds of all statements of the context.

    Only for statements that read. Read all rows before the context ends: SQLite finds them while they are read.
    Contexts must not be nested: MariaDB takes one limit for a statement.
    """
    if seconds is None:
        return nullcontext()
    bound = {"postgresql": _bound_postgresql, "sqlite": _bound_sqlite}.get(connection.dialect.name, _bound_mariadb)
    return bound(connection, seconds)


def read_within(connection: Connection, seconds: float | None, read: Callable[[], T]) -> T | None:
    """What is read; None if a statement takes longer than this many seconds (`bounded`)."""
    try:
        with bounded(connection, seconds):
            return read()
    except DBAPIError as error:
        if not _is_end(error.orig):
            raise
        return None


def countdown(seconds: float | None) -> Countdown:
    """What is left of these seconds, at least a millisecond; always None for None."""
    end = time.monotonic() + (seconds or 0.0)
    return lambda: None if seconds is None else max(0.001, end - time.monotonic())


@contextmanager
def _bound_postgresql(connection: Connection, seconds: float) -> Iterator[None]:
    # The end of the savepoint restores the limit that was there before, also after an error.
    with connection.begin_nested() as savepoint:
        connection.execute(text(f"SET LOCAL statement_timeout = {max(1, round(seconds * 1000))}"))
        yield
        savepoint.rollback()


@contextmanager
def _bound_mariadb(connection: Connection, seconds: float) -> Iterator[None]:
    def limit(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> tuple[str, Any]:
        # Only MariaDB reads what /*M! holds: MySQL has no such limit.
        return f"/*M! SET STATEMENT max_statement_time = {seconds:f} FOR */ {statement}", parameters

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
