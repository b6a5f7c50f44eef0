"""What a database server says of itself: its version, its clock, and whether a COMMIT survives a power cut."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from worker.database.transactions import Database

# The best of a few: an answer that is delayed on its way back looks like a fast clock.
_CLOCK_READINGS = 3

_NAMES = {"postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB", "sqlite": "SQLite"}

# The settings that decide what a power cut may cost, and a statement that gives a row of name and value for each. A
# server that does not know a setting gives no row, or null. SQLite has none: our own connections set what matters.
_MYSQL = (
    ("innodb_flush_log_at_trx_commit",),
    "SHOW GLOBAL VARIABLES WHERE variable_name = 'innodb_flush_log_at_trx_commit'",
)
_SETTINGS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "postgresql": (
        ("fsync", "synchronous_commit"),
        # As they hold for this session: a role or a database may have values of its own.
        "SELECT name, current_setting(name, true) FROM (VALUES ('fsync'), ('synchronous_commit')) AS wanted (name)",
    ),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": ((), ""),
}

# Other users of a pooler may take the session that would have shown it.
_ROUNDS = 2
# Two servers behind one address may have the same process id.
_SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresqlReading:
    """What is read from PostgreSQL only."""

    encoding: str
    """Of the database, such as `UTF8`."""
    keeps_session: bool | None
    """Whether a connection keeps its session between transactions; None where that could not be found out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerReading:
    """What was read from a server."""

    version: str
    """For people, such as `PostgreSQL 17.5`."""
    clock_ahead_seconds: float
    """How far the server's clock is ahead of this host's; negative where it is behind."""
    settings: Mapping[str, str | None]
    """The settings that decide what a power cut may cost; None where the server does not show them."""
    postgresql: PostgresqlReading | None
    """None of any other database."""


def read_server(database: Database, now: Callable[[], datetime]) -> ServerReading:
    """Read a server. Raises SQLAlchemy's errors where it cannot be reached or read.

    `now` is this host's wall clock, aware. A SQLite file that does not exist is made: test for it first.
    """
    settings = _settings(database)
    postgresql = _read_postgresql(database) if database.kind == "postgresql" else None
    with database.read() as connection:
        return ServerReading(
            version=_version(connection, database.kind),
            clock_ahead_seconds=_clock_ahead(database, connection, now),
            settings=settings,
            postgresql=postgresql,
        )


def _read_postgresql(database: Database) -> PostgresqlReading:
    with database.read() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    return PostgresqlReading(encoding=encoding, keeps_session=_keeps_session(database))


def _keeps_session(database: Database) -> bool | None:
    """Whether each connection has a session of its own, or a pooler lends it one for each transaction.

    None where that could not be found out.

    A pooler in transaction mode lends a session to the next transaction, whichever connection begins it. If it lends
    the session that became free last, the second connection gets that of the first. If it lends the one that has been
    free longest, and there are several, two transactions of one connection get different ones.
    """
    try:
        with database.engine.connect() as first, database.engine.connect() as second:
            return all(_kept(first, second) for _ in range(_ROUNDS))
    except (DBAPIError, NoConnectionFree):
        # There is no second session, or the role may not read them.
        return None


def _kept(first: Connection, second: Connection) -> bool:
    own = _session(first)
    first.commit()
    again = _session(first)
    first.commit()
    kept = own == again != _session(second)
    second.commit()
    return kept


def _session(connection: Connection) -> tuple[int, datetime]:
    pid, since = connection.exec_driver_sql(_SESSION).one()
    return pid, since


def _settings(database: Database) -> Mapping[str, str | None]:
    names, statement = _SETTINGS[database.kind]
    found: dict[str, str | None] = dict.fromkeys(names)
    if not names:
        return found
    try:
        with database.read() as connection:
            rows = connection.exec_driver_sql(statement).all()
    except DBAPIError:
        # A role that may not read them can work all the same. Where the server is away, the clock fails next.
        return found
    return found | {row[0].lower(): row[1] for row in rows}


def _version(connection: Connection, kind: str) -> str:
    dialect = connection.dialect
    name = _NAMES["mariadb" if getattr(dialect, "is_mariadb", False) else kind]
    numbers = dialect.server_version_info or ()
    return f"{name} {'.'.join(str(number) for number in numbers if isinstance(number, int))}".strip()


def _clock_ahead(database: Database, connection: Connection, now: Callable[[], datetime]) -> float:
    """By the reading with the shortest round trip: the server's clock against the middle of it."""
    readings = []
    for _ in range(_CLOCK_READINGS):
        before = now()
        server = database.now(connection)
        trip = now() - before
        readings.append((trip, (server - (before + trip / 2)).total_seconds()))
    return min(readings)[1]
