"""Engines whose sessions mean the same on PostgreSQL, MariaDB and SQLite, and the URLs that they are made of.

Where a server acknowledges what it gets but never answers (a stopped server, a pooler without a server behind it),
neither keepalives nor `tcp_user_timeout` end the wait. PyMySQL has timeouts for reading and writing. libpq has none;
but psycopg drives every exchange by a generator, which it also wakes up ten times a second while nothing comes: there
our connection tests the time.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url

from worker.database.column_types import pymysql_conversions
from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.identity import remember_identity

LOCK_SECONDS = 10.0
"""A transaction that waits longer for a row than this gives up, and is tried again."""

# While the database hangs, more threads want a connection than there are.
_FREE_CONNECTION_WAIT_SECONDS = 10


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


def make_engine(
    url: str, *, idle_transaction_seconds: float, answer_seconds: float | None, lock_seconds: float, pool_size: int
) -> Engine:
    """The engine of a SQLAlchemy URL; `Database` documents the arguments. Connects to nothing yet."""
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        return _make_sqlite_engine(url)
    kind = "postgresql" if kind == "postgresql" else "mysql"
    engine = create_engine(
        url,
        connect_args=_CONNECT_ARGUMENTS[kind] | ({"conv": pymysql_conversions()} if kind == "mysql" else {}),
        # On both servers: a decision must see what others committed before it took its locks.
        isolation_level="READ COMMITTED",
        # A connection that the server has closed meanwhile is replaced, instead of failing a tick.
        pool_pre_ping=True,
        # All of them are kept: what overflows the pool is closed as soon as it is given back, and under load a process
        # would make connections all the time. The latest is used first, so that few are used where few are needed.
        pool_size=2 * pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=_FREE_CONNECTION_WAIT_SECONDS,
        pool_recycle=1800,
        # An error's text goes into logs, and parameters hold phone numbers.
        hide_parameters=True,
    )
    event.listen(engine, "handle_error", _leave_read_only)
    if answer_seconds is not None:
        _bound_answers(engine, answer_seconds)
    event.listen(engine, "connect", _session_set_up(kind, lock_seconds, idle_transaction_seconds))
    remember_identity(engine)
    return engine


def _make_sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS}, hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    remember_identity(engine)
    return engine


def _leave_read_only(context: ExceptionContext) -> None:
    # A session that began as read-only stays so, and a proxy may have sent it to a standby: a new one may write.
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
        # A role or a database may set another one, in which remarks cannot be written.
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
        "SET lock_timeout = {lock_ms}",
        # The driver prepares what it runs often. A plan that was made while a table was small would read all of it for
        # as long as the connection lives, or until the table is analysed; to plan again takes a fraction of a ms.
        "SET plan_cache_mode = force_custom_plan",
    ),
    "mysql": (
        # Times are stored without a zone: sysdate() must give UTC. Only MariaDB reads what /*M! holds: MySQL has no
        # such setting.
        "SET SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = {lock_s},"
        # A table that is being altered: by the server's default a session would wait a day, long after we gave up.
        " SESSION lock_wait_timeout = {lock_s}"
        " /*M! , SESSION idle_transaction_timeout = {idle_s} */",
    ),
}


def _session_set_up(kind: str, lock_seconds: float, idle_seconds: float) -> Callable[[Any, object], None]:
    figures = {
        "lock_ms": math.ceil(lock_seconds * 1000),
        # This server counts in whole seconds.
        "lock_s": math.ceil(lock_seconds),
        "idle_ms": math.ceil(idle_seconds * 1000),
        "idle_s": math.ceil(idle_seconds),
    }
    statements = [statement.format(**figures) for statement in _SESSION_SETTINGS[kind]]

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
    # The writer does not block readers, and a commit survives a power loss.
    with suppress(sqlite3.OperationalError):
        # The mode is the file's. Where it cannot be set because somebody writes, the next connection sets it.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("reconciler_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _bound_answers(engine: Engine, seconds: float) -> None:
    """End every statement of an engine during which its server says nothing for `seconds`.

    It ends with the driver's OperationalError, and its connection is closed. From the server's greeting on, on MariaDB;
    on PostgreSQL from the first statement on, and `connect_timeout` bounds what comes before.
    """

    def connect_psycopg(_dialect: object, _record: object, args: list[Any], arguments: dict[str, Any]) -> object:
        connection = _bounded_psycopg().connect(*args, **arguments)
        connection.answer_seconds = seconds
        return connection

    def add_timeouts(_dialect: object, _record: object, _args: list[Any], arguments: dict[str, Any]) -> None:
        arguments |= {"read_timeout": seconds, "write_timeout": seconds}

    event.listen(engine, "do_connect", connect_psycopg if engine.dialect.name == "postgresql" else add_timeouts)


@cache
def _bounded_psycopg() -> Any:
    """The connection class of psycopg with a timeout for silence.

    Imported here: other databases need no psycopg, and where it is missing `reconciler doctor` has to say so.
    """
    from psycopg import Connection, OperationalError
    from psycopg.rows import TupleRow

    class BoundedConnection(Connection[TupleRow]):
        """Ends an exchange during which the server says nothing for `answer_seconds` with an OperationalError."""

        answer_seconds = 0.0

        def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
            # Every statement, commit and rollback goes through it.
            return super().wait(_bounded(gen, self.answer_seconds, self.give_up), *args, **kwargs)

        def give_up(self) -> NoReturn:
            # A late answer of the server must not reach the next statement.
            self.close()
            raise OperationalError(f"no answer from the server for {self.answer_seconds:g} s")

    return BoundedConnection


def _bounded(
    exchange: Generator[Any, Any, Any], seconds: float, give_up: Callable[[], NoReturn]
) -> Generator[Any, Any, Any]:
    try:
        wanted = next(exchange)
        ends = time.monotonic() + seconds
        while True:
            ready = yield wanted
            if ready:
                ends = time.monotonic() + seconds
            elif time.monotonic() >= ends:
                give_up()
            wanted = exchange.send(ready)
    except StopIteration as end:
        return end.value
