"""Transactions, the database's clock inside them, and their repetition.

An operation that writes is one function. Its decorator says when the transaction is repeated, and its `with
database.write()` is the transaction. It reads the clock by `database.now(connection)`, after it has taken the locks
that its decision needs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, Self, TypeVar

from sqlalchemy import Connection as Connection  # for operations, which do not import SQLAlchemy
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
"""How long a worker waits for any answer of the database; longer than any wait for a lock."""

_ATTEMPTS = 5
_CLOCKS = {
    # now() is the start of the transaction. After a wait for a lock it would be too old.
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT sysdate(6)",
    "mariadb": "SELECT sysdate(6)",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


class RaceLost(Exception):
    """A row changed after it was read and before it was written. The transaction must be repeated."""


class RowsHeld(Exception):
    """Another session kept an order locked for longer than our own transactions do. The caller should do other work
    before it tries again."""


class Database:
    """One process's access to the database. Create it after the fork and close it at the end, for example by a `with`
    block.

    `idle_transaction_seconds`: the database ends a session that is idle in a transaction for longer. Otherwise a host
    that loses its power could keep a budget's row locked.
    `answer_seconds`: a statement fails if the server is silent for longer. Its connection is closed, and
    `is_unavailable` is true of the error. None waits for ever; a migration needs that, because building an index takes
    long. SQLite has no server: its waits for locks are bounded, and nothing can end a disk read.
    `lock_seconds`: how long a statement waits for a lock; MariaDB rounds it up to whole seconds. On SQLite the wait is
    always `LOCK_SECONDS`, because its only lock is that of the file, which all writers take in turn.
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
        """How long ago a write last failed here because the disk was full; None if none has failed for that reason."""
        return seconds_since(self._full_at)

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, for migrations and command-line reads."""
        return self._engine

    def before_statements(self, call: Callable[[], None]) -> None:
        """Run `call` before each statement, in the thread that executes the statement."""
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
        """A transaction that only reads. All its statements see the database at the same moment."""
        # On SQLite every transaction is a snapshot.
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
    """Raise RowsHeld if a row stays locked for 0.2 s (MariaDB: a second), unless `waits` is true.

    Our own transactions keep locks for less time. On PostgreSQL the limit applies until the transaction ends. SQLite
    does not lock rows.
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
        # A lost connection has lost its setting, too.
        if is_mysql and not connection.invalidated:
            connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = @lock_seconds")


def retry_contention(transaction: Callable[P, T]) -> Callable[P, T]:
    """Repeat a transaction after contention (`is_contention`), up to 5 attempts in all. Other errors are not
    repeated."""
    return _repeating(transaction, is_contention, stop_after_attempt(_ATTEMPTS), first_wait=0.02, longest_wait=0.5)


def retry_races(transaction: Callable[P, T]) -> Callable[P, T]:
    """Repeat a transaction as `retry_contention` does, unless it waited in vain for a lock. Use this if the caller has
    other work to do meanwhile."""
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
    """Repeat a transaction after random waits. The first wait is up to `first_wait` seconds. The upper limit doubles
    each time, up to `longest_wait` seconds."""

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
    """Whether a transaction failed only because of other transactions: by a deadlock, a wait for a lock, or a lost
    race."""
    return _is_race(error) or is_locked(error)


def is_locked(error: BaseException) -> bool:
    """Whether a lock was not available in time: that of a row, a table or (SQLite) the file."""
    return kind_of(error) is ErrorKind.LOCKED


def is_unavailable(error: BaseException) -> bool:
    """Whether the database could not be reached, went away or is silent, or no connection of this process became
    free."""
    return kind_of(error) in (ErrorKind.UNREACHABLE, ErrorKind.POOL)


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed later. True for contention, and for any failure of the database that our
    code did not cause, for example because it is away, full, read-only or out of connections."""
    return is_contention(error) or kind_of(error) is not None


def _is_race(error: BaseException) -> bool:
    """Whether the transaction lost a race or a deadlock. Unlike after a wait for a lock, the next attempt does not meet
    the other transaction again."""
    return isinstance(error, (RaceLost, IntegrityError)) or kind_of(error) is ErrorKind.CONTENDED
