"""Transactions: how to begin them, repeat them, and read the database's clock in them.

An operation that writes is one function. The function's decorator says when the transaction is repeated, and the
function's block `with database.write()` is the transaction. The function first takes the locks that its decision needs,
and then reads the clock by `database.now(connection)`.
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
"""How long a worker waits for any answer of the database. This is longer than any wait for a lock."""

_ATTEMPTS = 5
_CLOCKS = {
    # PostgreSQL's now() returns the time when the transaction began. After a wait for a lock this time would be too
    # old.
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT sysdate(6)",
    "mariadb": "SELECT sysdate(6)",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


class RaceLost(Exception):
    """A row changed after it was read and before it was written. The transaction must be repeated."""


class RowsHeld(Exception):
    """Another session kept an order locked for longer than our own transactions do. The caller should do other work
    before it repeats the transaction."""


class Database:
    """One process's access to the database. Create it after the fork and close it at the end, for example by a `with`
    block.

    `idle_transaction_seconds`: the database ends a session that is idle in a transaction for longer than this.
    Otherwise, if a host lost its power during a transaction, a slot's row could stay locked.
    `answer_seconds`: a statement fails if the server is silent for longer than this. The statement's connection is
    closed, and `is_unavailable` is true of the error. With None a statement waits for ever; a migration needs None,
    because building an index takes long. SQLite has no server: its waits for locks are bounded, and nothing can end a
    disk read.
    `lock_seconds`: how long a statement waits for a lock; MariaDB rounds it up to whole seconds. On SQLite a statement
    always waits up to `LOCK_SECONDS`, because the only lock is that of the file, which all writers take in turn.
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
        """Seconds since a write of this process last failed because the database's disk was full; None if no write has
        failed for this reason."""
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
        """A transaction that may write. It is committed at the end of the block, or rolled back if the block raises an
        exception."""
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
        # SQLite needs no option, because every transaction on SQLite is a snapshot.
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

    Our own transactions keep a row locked for less than that. On PostgreSQL the limit applies until the transaction
    ends. On SQLite there is no limit, because SQLite does not lock rows.
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
        # If the connection was lost, the setting was lost with it and need not be restored.
        if is_mysql and not connection.invalidated:
            connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = @lock_seconds")


def retry_contention(transaction: Callable[P, T]) -> Callable[P, T]:
    """Repeat a transaction after contention (`is_contention`), up to 5 attempts in all. Other errors are not
    repeated."""
    return _repeating(transaction, is_contention, stop_after_attempt(_ATTEMPTS), first_wait=0.02, longest_wait=0.5)


def retry_races(transaction: Callable[P, T]) -> Callable[P, T]:
    """Repeat a transaction as `retry_contention` does, except after it has waited in vain for a lock. Use this if the
    caller can do other work until the lock is released."""
    return _repeating(transaction, _is_race, stop_after_attempt(_ATTEMPTS), first_wait=0.02, longest_wait=0.5)


def retry_until(*, seconds: float) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Repeat a transaction after an error that may pass (`is_transient`), until `seconds` have passed."""

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
    """Repeat a transaction after random waits. The first wait is at most `first_wait` seconds. For each further wait
    this maximum doubles, up to `longest_wait` seconds."""

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
    """Whether a transaction failed only because of other transactions: by a deadlock, a wait for a lock that took too
    long, or a lost race (`RaceLost`)."""
    return _is_race(error) or is_locked(error)


def is_locked(error: BaseException) -> bool:
    """Whether the lock of a row, of a table or (SQLite) of the file was not available in time."""
    return kind_of(error) is ErrorKind.LOCKED


def is_unavailable(error: BaseException) -> bool:
    """Whether the database could not be reached, went away or is silent, or no connection of this process became
    free."""
    return kind_of(error) in (ErrorKind.UNREACHABLE, ErrorKind.POOL)


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed later. True for contention, and for any failure of the database that our
    code did not cause: for example, the database is away, its disk is full, it is read-only, or it has no connection
    left."""
    return is_contention(error) or kind_of(error) is not None


def _is_race(error: BaseException) -> bool:
    """Whether the transaction lost a race or a deadlock. After these, another attempt at once makes sense, because the
    other transaction has ended. After a wait for a lock it has not."""
    return isinstance(error, (RaceLost, IntegrityError)) or kind_of(error) is ErrorKind.CONTENDED
