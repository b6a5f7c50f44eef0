"""Database engines whose sessions behave the same on PostgreSQL, MariaDB and SQLite; and the engines' URLs.

A server may acknowledge what it receives but never answer, for example a stopped server, or a pooler without a server.
Neither keepalives nor `tcp_user_timeout` end the wait for that answer. For MariaDB, PyMySQL has timeouts for reading
and writing. For PostgreSQL, libpq has none. But psycopg runs every exchange as a generator, which it resumes ten times
a second even if nothing arrives. Our connection class tests the time whenever the generator is resumed.
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
from worker.database.read_identity import remember_identity

LOCK_SECONDS = 10.0
"""Seconds after which a transaction stops waiting for a locked row. The transaction is then repeated."""

# A thread waits this long for a connection of the pool to become free. Threads have to wait while the database hangs,
# because then they want more connections than the pool has.
_FREE_CONNECTION_WAIT_SECONDS = 10


def shown_url(url: str) -> str:
    """A database's URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


def missing_file(url: str) -> Path | None:
    """The file of a SQLite database, if the file does not exist yet; otherwise None. Connecting would create the
    file."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database or parts.database.startswith((":", "file:")):
        return None
    file = Path(parts.database)
    return None if file.exists() else file


def make_engine(
    url: str, *, idle_transaction_seconds: float, answer_seconds: float | None, lock_seconds: float, pool_size: int
) -> Engine:
    """Make the engine for a SQLAlchemy URL, without connecting yet. `Database` documents the arguments."""
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        return _make_sqlite_engine(url)
    kind = "postgresql" if kind == "postgresql" else "mysql"
    engine = create_engine(
        url,
        connect_args=_CONNECT_ARGUMENTS[kind] | ({"conv": pymysql_conversions()} if kind == "mysql" else {}),
        # Set because the two servers have different defaults. A transaction that decides must see everything that
        # others committed before it took its locks.
        isolation_level="READ COMMITTED",
        # Test a connection before use, and replace it if the server has closed it meanwhile. Otherwise a tick would
        # fail.
        pool_pre_ping=True,
        # With `max_overflow=0` the pool keeps all its connections. SQLAlchemy closes connections beyond the pool's size
        # as soon as they are returned, so under load a process would open new connections all the time. With
        # `pool_use_lifo` the connection that was returned last is used first, so that few connections are in use if few
        # are needed.
        pool_size=2 * pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=_FREE_CONNECTION_WAIT_SECONDS,
        pool_recycle=1800,
        # Keeps the parameters of a statement out of the texts of errors. These texts go into logs, and parameters
        # contain phone numbers.
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
    # Close the connection after an error that says that the database is read-only. A session that began as read-only,
    # for example because a proxy sent it to a standby, remains read-only. A new session may be able to write.
    error = context.sqlalchemy_exception
    if error is not None and kind_of(error) is ErrorKind.READ_ONLY:
        context.is_disconnect = True


# With these values we notice within half a minute that a host has vanished (power, network). With the kernel's own
# values it would take two hours.
_CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "postgresql": {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        # Set here because a role or a database may have another encoding, in which remarks cannot be represented.
        "client_encoding": "utf8",
    },
    "mysql": {"connect_timeout": 5},
}

_SESSION_SETTINGS = {
    "postgresql": (
        # All settings are made by statements, because a pooler refuses startup options.
        "SET TIME ZONE 'UTC'",
        # The driver can read times only in the style ISO.
        "SET DateStyle = 'ISO'",
        "SET idle_in_transaction_session_timeout = {idle_ms}",
        "SET lock_timeout = {lock_ms}",
        # Make a new plan each time a prepared statement runs, which takes a fraction of a millisecond. The driver
        # prepares statements that it runs often. If PostgreSQL kept a plan that it made while a table was small, each
        # run would read the whole table, until the connection is closed or the table is analysed.
        "SET plan_cache_mode = force_custom_plan",
    ),
    "mysql": (
        # Times are stored without a zone, so sysdate() must return UTC. Only MariaDB executes the text within /*M! */;
        # MySQL does not have the setting in it.
        "SET SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = {lock_s},"
        # The longest wait for a table that is being altered. By default a session on the server would wait for a day,
        # long after our program has given up.
        " SESSION lock_wait_timeout = {lock_s}"
        " /*M! , SESSION idle_transaction_timeout = {idle_s} */",
    ),
}


def _session_set_up(kind: str, lock_seconds: float, idle_seconds: float) -> Callable[[Any, object], None]:
    figures = {
        "lock_ms": math.ceil(lock_seconds * 1000),
        # MariaDB accepts only whole seconds.
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
    # Stop the driver from beginning transactions by itself. It would begin deferred transactions. A deferred
    # transaction that starts to write fails at once if another transaction is writing, whatever the busy timeout.
    connection.isolation_level = None
    # Two settings: with WAL the writer does not block readers, and with FULL a commit survives a power loss.
    with suppress(sqlite3.OperationalError):
        # The journal mode is stored in the database file. If it cannot be set now because somebody is writing, the next
        # connection sets it.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("reconciler_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _bound_answers(engine: Engine, seconds: float) -> None:
    """End any statement of the engine once its server is silent for `seconds`.

    The statement fails with the driver's OperationalError, and its connection is closed. On MariaDB the limit applies
    from the server's greeting on. On PostgreSQL the limit applies from the first statement on; `connect_timeout` limits
    the time before that.
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
    """Make a subclass of psycopg's connection that has a timeout for a silent server.

    psycopg is imported here because the other databases do not need it, and because `reconciler doctor` must be able to
    report that psycopg is missing.
    """
    from psycopg import Connection, OperationalError
    from psycopg.rows import TupleRow

    class BoundedConnection(Connection[TupleRow]):
        """A connection that raises OperationalError once the server is silent for `answer_seconds`."""

        answer_seconds = 0.0

        def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
            # psycopg calls this method for every statement, commit and rollback.
            return super().wait(_bounded(gen, self.answer_seconds, self.give_up), *args, **kwargs)

        def give_up(self) -> NoReturn:
            # The connection is closed because the server's late answer must not be read as the answer to the next
            # statement.
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
