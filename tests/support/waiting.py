"""Waiting until a condition holds, instead of sleeping for as long as it may take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy

from tests.support.sql import session

T = TypeVar("T")

_POLL_SECONDS = 0.03
_LONGEST_POLL_SECONDS = 0.3
_MOST_SECONDS = 100.0
"""A busy machine is slow, not wrong. Less than a test's time limit, whose error would not name the condition."""


def eventually(
    condition: Callable[[], T | None], what: str, *, seconds: float = _MOST_SECONDS, every: float = _POLL_SECONDS
) -> T:
    """Evaluate a condition `every` so many seconds until its value is true; returns that value.

    Raises:
        AssertionError: it did not hold in time; names `what` was waited for, and the last value.
    """
    seen = last_seen(condition, seconds=seconds, every=every)
    if not seen:
        raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {seen!r}")
    return seen


def last_seen(condition: Callable[[], T | None], *, seconds: float, every: float = _POLL_SECONDS) -> T | None:
    """Evaluate a condition until its value is true, or for so many seconds; returns its last value."""
    began = time.monotonic()
    while not (seen := condition()) and (waited := time.monotonic() - began) <= seconds:
        # A long wait looks less often: what it waits for needs the processor more.
        time.sleep(max(every, min(waited / 10, _LONGEST_POLL_SECONDS)))
    return seen


class TableLock:
    """A locked table of one database: any other session that writes to it waits until it is released."""

    def __init__(self, url: str, connection: sqlalchemy.Connection) -> None:
        self._url = sqlalchemy.make_url(url)
        self._connection = connection
        self._is_postgresql = self._url.get_backend_name() == "postgresql"

    def waiting(self) -> int:
        """How many sessions wait for a lock in this database."""
        if self._is_postgresql:
            statement = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        else:
            statement = (
                "SELECT count(*) FROM information_schema.processlist"
                " WHERE db = database() AND state LIKE 'Waiting for table%%'"
            )
        # By a connection of its own: inside a transaction PostgreSQL shows the sessions of its start.
        with self._connection.engine.connect() as onlooker:
            return int(onlooker.exec_driver_sql(statement).scalar_one())

    def wait_for_waiting(self, count: int = 1) -> None:
        """Return once so many sessions wait."""
        eventually(lambda: self.waiting() >= count, f"{count} sessions that wait for the locked table")

    def release(self) -> None:
        """Release the lock."""
        self._connection.exec_driver_sql("COMMIT" if self._is_postgresql else "UNLOCK TABLES")


@contextmanager
def locked_table(url: str, table: str) -> Iterator[TableLock]:
    """Lock a table on PostgreSQL or MariaDB against writes, not against reads.

    It is released at the latest when the context ends.
    """
    with session(url) as connection:
        lock = TableLock(url, connection)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        else:
            connection.exec_driver_sql(f"LOCK TABLES {table} READ")
        try:
            yield lock
        finally:
            lock.release()
