"""Transactions, the database's clock inside them, and how often a transaction is repeated.

An operation that writes is one function: its decorator says when it is repeated, its `with database.write()` is the
transaction, and `database.now(connection)` reads the clock, after the locks that the decision needs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, Self, TypeVar

from sqlalchemy import Connection as Connection  # for operations, which import nothing of SQLAlchemy
from sqlalchemy import Engine, ExceptionContext, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential
from tenacity.stop import stop_base

from worker.adapters.clock import seconds_since
from worker.database.engine import LOCK_SECONDS, make_engine
from worker.database.error_kinds import ErrorKind, kind_of

P = ParamSpec("P")
T = TypeVar("T")

DatabaseError = DBAPIError

ANSWER_SECONDS = 15.0
"""How long a worker waits for the database to say anything: longer than any lock is waited for."""

_ATTEMPTS = 5
_CLOCKS = {
    # now() is the transaction's start: behind a lock wait it would be stale.
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT sysdate(6)",
    "mariadb": "SELECT sysdate(6)",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


class RaceLost(Exception):
    """A row changed between the moment it was read and the moment it was written: the transaction is to be repeated."""


class RowsHeld(Exception):
    """Somebody else has held an order locked for longer than a transaction of ours does: whoever repeats this one does
    something else meanwhile."""


class Database:
    """One process's access to the database. Make it after the fork, close it at the end; as a context manager it is
    closed by itself.

    `idle_transaction_seconds`: the database ends a session that stays idle in a transaction for longer, so that a host
    that loses its power cannot keep a budget's row locked.
    `answer_seconds`: a statement during which the server says nothing for longer ends with an error that
    `is_unavailable` knows, and its connection is closed. None waits for ever, as a migration must: to build an index
    takes long. On SQLite there is no server that could keep silent: locks are bounded, and a disk read cannot be ended.
    `lock_seconds`: how long a statement waits for a lock; on MariaDB in whole seconds, rounded up. On SQLite, where the
    one lock is the file's and all writers take it in turns, it is always `LOCK_SECONDS`.
    """

    def __init__(
        self,
        url: str,
        *,
        idle_transaction_seconds: float = 30.0,
        answer_seconds: float | None = None,
        lock_seconds: float = LOCK_SECONDS,
        pool_size: int = 10,
    ) -> None:
        self.kind = make_url(url).get_backend_name()
        self._engine = make_engine(
            url,
            idle_transaction_seconds=max(1.0, idle_transaction_seconds),
            answer_seconds=answer_seconds,
            lock_seconds=lock_seconds,
            pool_size=pool_size,
        )
        self._full_at: float | None = None
        event.listen(self._engine, "handle_error", self._note_full)

    def _note_full(self, failed: ExceptionContext) -> None:
        if kind_of(failed.sqlalchemy_exception or failed.original_exception) is ErrorKind.FULL:
            self._full_at = time.monotonic()

    def seconds_since_full(self) -> float | None:
        """How long ago a write last failed here because the disk is full; None where none has."""
        return seconds_since(self._full_at)

    @property
    def engine(self) -> Engine:
        """For migrations and command-line reads."""
        return self._engine

    def before_statements(self, call: Callable[[], None]) -> None:
        """Call this before each statement, in the thread that makes it."""
        event.listen(self._engine, "before_cursor_execute", lambda *_: call())

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end, rolled back by an exception."""
        with self._engine.connect().execution_options(reconciler_writes=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees the same moment in all its statements."""
        # On SQLite every transaction does.
        options = {} if self.kind == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def now(self, connection: Connection) -> datetime:
        """The database's clock at this moment, in UTC."""
        value = connection.exec_driver_sql(_CLOCKS[self.kind]).scalar_one()
        read = datetime.fromisoformat(value) if isinstance(value, str) else value
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)


@contextmanager
def bounded_waits(connection: Connection, *, waits: bool) -> Iterator[None]:
    """Give up on a row that stays locked for 0.2 s (MariaDB: a second), unless one `waits`.

    Our own transactions take less. Raises RowsHeld then. On PostgreSQL the bound lasts until the transaction ends.
    SQLite has no locked rows.
    """
    if waits:
        yield
        return
    is_mysql = connection.dialect.name in ("mysql", "mariadb")
    if is_mysql:
        setting = "SET @lock_seconds = @@innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1"
        connection.exec_driver_sql(setting)
    elif connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
    try:
        yield
    except DatabaseError as error:
        if not is_locked(error):
            raise
        raise RowsHeld("another session holds orders locked") from error
    finally:
        # A connection that is lost takes its setting with it.
        if is_mysql and not connection.invalidated:
            connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = @lock_seconds")


def retry_contention(transaction: Callable[P, T]) -> Callable[P, T]:
    """Repeat a transaction that lost a race or a deadlock, a few times. Nothing else is repeated."""
    return _repeating(transaction, is_contention, stop_after_attempt(_ATTEMPTS), first_wait=0.02, longest_wait=0.5)


def retry_races(transaction: Callable[P, T]) -> Callable[P, T]:
    """As `retry_contention`, but a transaction that waited in vain for a lock is not repeated: for a caller that has
    something else to do meanwhile."""
    return _repeating(transaction, _is_race, stop_after_attempt(_ATTEMPTS), first_wait=0.02, longest_wait=0.5)


def retry_until(*, seconds: float) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Repeat a transaction that may succeed later (`is_transient`), until `seconds` have passed."""

    def decorate(transaction: Callable[P, T]) -> Callable[P, T]:
        return _repeating(transaction, is_transient, stop_after_delay(seconds), first_wait=0.05, longest_wait=2)

    return decorate


def _repeating(
    transaction: Callable[P, T],
    is_repeated: Callable[[BaseException], bool],
    stop: stop_base,
    *,
    first_wait: float,
    longest_wait: float,
) -> Callable[P, T]:
    """Waits are drawn at random: up to `first_wait` seconds at first, then up to twice that, at most `longest_wait`."""

    @wraps(transaction)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        retrying = Retrying(
            retry=retry_if_exception(is_repeated),
            stop=stop,
            wait=wait_random_exponential(multiplier=first_wait, max=longest_wait),
            reraise=True,
        )
        return retrying(transaction, *args, **kwargs)

    return repeated


def is_contention(error: BaseException) -> bool:
    """Whether a transaction failed only because others were at work: a deadlock, a lock wait, a lost race."""
    return _is_race(error) or is_locked(error)


def is_locked(error: BaseException) -> bool:
    """Whether a lock was not to be had in time: of a row, of a table or (SQLite) of the file."""
    return kind_of(error) is ErrorKind.LOCKED


def is_unavailable(error: BaseException) -> bool:
    """Whether the database could not be reached, went away or keeps silent."""
    return kind_of(error) in (ErrorKind.UNREACHABLE, ErrorKind.POOL)


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed later: others were at work, or the database is away, full, read-only or
    out of connections, or refuses for another reason that is no mistake of ours."""
    return is_contention(error) or kind_of(error) is not None


def _is_race(error: BaseException) -> bool:
    """The same without a lock wait: the next try meets no other transaction."""
    return isinstance(error, (RaceLost, IntegrityError)) or kind_of(error) is ErrorKind.CONTENDED
