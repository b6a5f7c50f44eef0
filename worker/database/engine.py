"""Connections and transactions, made so that they mean the same on PostgreSQL, MariaDB and SQLite."""

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import IntegrityError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.server_silence_timeout import bound_answers

T = TypeVar("T")

ANSWER_SECONDS = 15.0
"""How long a worker waits for the database to say anything: longer than any lock is waited for."""

# A transaction that waits longer for a row than this gives up, and is tried again.
_LOCK_WAIT_SECONDS = 10
# While the database hangs, more threads want a connection than there are.
_FREE_CONNECTION_WAIT_SECONDS = 10
_CLOCKS = {
    # now() is the transaction's start: behind a lock wait it would be stale.
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT sysdate(6)",
    "mariadb": "SELECT sysdate(6)",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


class RaceLost(Exception):
    """A row changed between the moment it was read and the moment it was written: the transaction is to be repeated."""


class Database:
    """One process's way to the database. Make it after the fork, close it at the end.

    `idle_transaction_seconds`: the database ends a session that stays idle in a transaction for longer, so that a host
    which loses its power cannot keep a budget's row locked.
    `answer_seconds`: a statement during which the server says nothing for longer ends with an error that
    `is_unavailable` knows, and its connection is closed. None waits for ever, as a migration must: an index takes its
    time. On SQLite there is no server that could keep silent: locks are bounded, and a read of a disk cannot be ended.
    """

    def __init__(
        self,
        url: str,
        *,
        idle_transaction_seconds: float = 30.0,
        answer_seconds: float | None = None,
        pool_size: int = 10,
    ) -> None:
        self.kind = make_url(url).get_backend_name()
        self._engine = _make_engine(url, max(1.0, idle_transaction_seconds), answer_seconds, pool_size)

    @property
    def engine(self) -> Engine:
        """For migrations and command-line reads."""
        return self._engine

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

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
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)

    def retrying(self, attempt: Callable[[], T], *, attempts: int = 5) -> T:
        """Repeat a transaction that lost a race or a deadlock, a few times. Nothing else is repeated."""
        return Retrying(
            retry=retry_if_exception(is_contention),
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            reraise=True,
        )(attempt)

    def insisting(self, attempt: Callable[[], T], *, seconds: float) -> T:
        """Repeat a transaction that may succeed later (`passes_with_time`), for so many seconds."""
        return Retrying(
            retry=retry_if_exception(passes_with_time),
            stop=stop_after_delay(seconds),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            reraise=True,
        )(attempt)


def shown_url(url: str) -> str:
    """A database's URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


def missing_file(url: str) -> Path | None:
    """The file of a SQLite database that does not exist yet: to connect to it would make it."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database or parts.database.startswith((":", "file:")):
        return None
    file = Path(parts.database)
    return None if file.exists() else file


def is_contention(error: BaseException) -> bool:
    """Whether a transaction failed only because others were at work: a deadlock, a lock wait, a lost race."""
    return isinstance(error, (RaceLost, IntegrityError)) or kind_of(error) in (ErrorKind.LOCKED, ErrorKind.CONTENDED)


def is_unavailable(error: BaseException) -> bool:
    """Whether the database could not be reached, went away or keeps silent."""
    return kind_of(error) in (ErrorKind.UNREACHABLE, ErrorKind.POOL)


def passes_with_time(error: BaseException) -> bool:
    """Whether the same transaction may succeed later: others were at work, or the database is away, full, read-only or
    out of connections, or refuses for another reason that is no mistake of ours."""
    return is_contention(error) or kind_of(error) is not None


def _make_engine(url: str, idle_transaction_seconds: float, answer_seconds: float | None, pool_size: int) -> Engine:
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _LOCK_WAIT_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    kind = "postgresql" if kind == "postgresql" else "mysql"
    engine = create_engine(
        url,
        connect_args=_CONNECT_ARGUMENTS[kind],
        # On both servers: a decision must see what others committed before it took its locks.
        isolation_level="READ COMMITTED",
        # A connection that the server has closed meanwhile is replaced, instead of failing a tick.
        pool_pre_ping=True,
        # All of them are kept: what overflows the pool is closed as soon as it is given back, and under load a process
        # would make connections all the time. The latest first, so that few are used where few are needed.
        pool_size=2 * pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=_FREE_CONNECTION_WAIT_SECONDS,
        pool_recycle=1800,
    )
    event.listen(engine, "handle_error", _leave_read_only)
    if answer_seconds is not None:
        bound_answers(engine, answer_seconds)
    figures = {
        "lock_wait_s": _LOCK_WAIT_SECONDS,
        "idle_ms": math.ceil(idle_transaction_seconds * 1000),
        "idle_s": math.ceil(idle_transaction_seconds),
    }
    statements = [statement.format(**figures) for statement in _SESSION_SETTINGS[kind]]
    event.listen(engine, "connect", _session_set_up(statements))
    return engine


def _leave_read_only(context: ExceptionContext) -> None:
    # A session that was begun as read-only stays so, and a proxy may have led it to a standby: a new one may write.
    error = context.sqlalchemy_exception
    if error is not None and kind_of(error) is ErrorKind.READ_ONLY:
        context.is_disconnect = True


# A host that vanishes (power, network) is noticed within half a minute, rather than by the kernel's two hours.
_CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "postgresql": {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        # A role or a database may ask for another one, in which remarks cannot be written.
        "client_encoding": "utf8",
    },
    "mysql": {"connect_timeout": 5},
}

_SESSION_SETTINGS = {
    "postgresql": (
        # Statements and no startup options: a pooler refuses those.
        "SET TIME ZONE 'UTC'",
        # The driver reads times in no other style.
        "SET DateStyle = 'ISO'",
        "SET idle_in_transaction_session_timeout = {idle_ms}",
        "SET lock_timeout = '{lock_wait_s}s'",
        # The driver prepares what it runs often. A plan that was made while a table was small would read all of it for
        # as long as the connection lives, or until the table is analysed; to plan anew takes a fraction of a ms.
        "SET plan_cache_mode = force_custom_plan",
    ),
    "mysql": (
        # Times are stored without a zone: sysdate() must give UTC. Only MariaDB reads what /*M! holds: MySQL has no
        # such setting.
        "SET SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = {lock_wait_s},"
        # A table that is being altered: by the server's default a session would wait a day, long after we left it.
        " SESSION lock_wait_timeout = {lock_wait_s}"
        " /*M! , SESSION idle_transaction_timeout = {idle_s} */",
    ),
}


def _session_set_up(statements: Sequence[str]) -> Callable[[Any, object], None]:
    def set_up(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.commit()

    return set_up


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and deferred: one that turns to writing fails at once where another
    # writes, whatever the busy timeout.
    connection.isolation_level = None
    # Readers are not kept out by the writer, and a commit survives a power loss.
    with suppress(sqlite3.OperationalError):
        # The mode is the file's. Where it cannot be set because somebody writes, the next connection sets it.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("reconciler_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
