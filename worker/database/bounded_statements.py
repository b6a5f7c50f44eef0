"""Time limits for statements. The transaction can continue after a limit has ended one of its statements."""

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
"""SQLite reads the clock each time after this many steps of its virtual machine, which take about a millisecond."""
_CANCELLED = "57014"
_MARIADB_TIMEOUT = 1969


def bounded(connection: Connection, seconds: float | None) -> AbstractContextManager[None]:
    """End any statement that takes longer than `seconds`, with the driver's error; None sets no limit. On SQLite the
    limit is for all statements of the context together.

    Use it only for statements that read. Read all rows before the context ends: SQLite searches for the next row only
    when it is read, and the limit no longer applies after the context. Do not nest these contexts, because MariaDB
    accepts only one limit per statement.
    """
    if seconds is None:
        return nullcontext()
    bound = {"postgresql": _bound_postgresql, "sqlite": _bound_sqlite}.get(connection.dialect.name, _bound_mariadb)
    return bound(connection, seconds)


def read_within(connection: Connection, seconds: float | None, read: Callable[[], T]) -> T | None:
    """Call `read` and return its result; None if one of its statements takes longer than `seconds` (see `bounded`)."""
    try:
        with bounded(connection, seconds):
            return read()
    except DBAPIError as error:
        if not _is_end(error.orig):
            raise
        return None


def countdown(seconds: float | None) -> Countdown:
    """Start a countdown. The returned function returns the seconds that are left, but at least a millisecond; if
    `seconds` is None, it always returns None."""
    end = time.monotonic() + (seconds or 0.0)
    return lambda: None if seconds is None else max(0.001, end - time.monotonic())


@contextmanager
def _bound_postgresql(connection: Connection, seconds: float) -> Iterator[None]:
    # The limit is set after a savepoint. Rolling back to the savepoint restores the previous limit, also after an
    # error.
    with connection.begin_nested() as savepoint:
        connection.execute(text(f"SET LOCAL statement_timeout = {max(1, round(seconds * 1000))}"))
        yield
        savepoint.rollback()


@contextmanager
def _bound_mariadb(connection: Connection, seconds: float) -> Iterator[None]:
    def limit(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> tuple[str, Any]:
        # Only MariaDB executes the text within /*M! */. MySQL reads it as a comment, so statements have no limit there.
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
