"""Facts about a database server: its version, its clock, whether a COMMIT survives a power cut, and the rights that our
role lacks in it.

Each right is tested by a statement that matches no row, in a transaction that is rolled back. So the test also counts
rights that the role has through another role, through PUBLIC, or separately for each column. SQLite has no rights.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, Executable, TableClause, delete, false, insert, null, select, update
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.revisions import VERSIONS
from worker.database.tables import ACTS, BUDGETS, CURSORS, DEPLOYMENT, METADATA, OBSERVATIONS, SCHEDULES, STATES, TOTALS
from worker.database.transactions import Database
from worker.domain.records.sentences import Sentence, _

# The clock is read this many times, and the reading with the shortest round trip is used: a delayed answer makes the
# server's clock look wrong.
_CLOCK_READINGS = 3

_NAMES = {"postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB", "sqlite": "SQLite"}

# For each kind of database: the settings that decide what a power cut may cost, and the statement that reads them. The
# statement returns one row for each setting, with its name and value. A server that does not know a setting returns no
# row for it, or null as its value. SQLite has no such settings on a server; our own connections set what matters.
_MYSQL = (
    ("innodb_flush_log_at_trx_commit",),
    "SHOW GLOBAL VARIABLES WHERE variable_name = 'innodb_flush_log_at_trx_commit'",
)
_SETTINGS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "postgresql": (
        ("fsync", "synchronous_commit"),
        # Reads the values that apply in this session, because a role or a database may have its own values.
        "SELECT name, current_setting(name, true) FROM (VALUES ('fsync'), ('synchronous_commit')) AS wanted (name)",
    ),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": ((), ""),
}

# How often `_keeps_session` makes its test. Once is not enough: a pooler may lend another client the session that would
# have shown that sessions are shared.
_ROUNDS = 2
# The process id alone does not identify a session: two servers behind one address may each have a process with that id.
_SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresqlReading:
    """Facts that are read from PostgreSQL only."""

    encoding: str
    """The database's encoding, such as `UTF8`."""
    keeps_session: bool | None
    """Whether a connection to the database keeps the same session between transactions; None if that could not be found
    out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerReading:
    """Facts that were read from a server."""

    version: str
    """The version for people, such as `PostgreSQL 17.5`."""
    clock_ahead_seconds: float
    """How far the server's clock is ahead of this host's; negative if it is behind."""
    settings: Mapping[str, str | None]
    """The values of the settings that decide what a power cut may cost, by name; None if the server does not show the
    setting."""
    postgresql: PostgresqlReading | None
    """Facts that are read from PostgreSQL only; None if the database is of another kind."""


def read_server(database: Database, now: Callable[[], datetime]) -> ServerReading:
    """Read the facts about a server. Raises SQLAlchemy's errors if the server cannot be reached or read.

    `now` returns this host's wall clock as an aware time. A SQLite file that does not exist is created, so test first
    whether it exists.
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
    """Whether each connection has its own session. False if a pooler lends a connection a session for one transaction
    at a time.

    None if that could not be found out.

    A pooler in transaction mode lends a session to the next transaction of any connection. If the pooler lends the
    session that became free last, the second connection gets the session that the first connection had. If the pooler
    has several sessions and lends the one that has been free longest, two transactions of one connection get different
    sessions.
    """
    try:
        with database.engine.connect() as first, database.engine.connect() as second:
            return all(_kept(first, second) for _ in range(_ROUNDS))
    except (DBAPIError, NoConnectionFree):
        # No second connection could be made, or the role may not read the list of sessions.
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
        # The error is ignored: a role that may not read the settings can work all the same. If the server is away
        # instead, a later step, which reads the clock, fails as well and raises its error.
        return found
    return found | {row[0].lower(): row[1] for row in rows}


def _version(connection: Connection, kind: str) -> str:
    dialect = connection.dialect
    name = _NAMES["mariadb" if getattr(dialect, "is_mariadb", False) else kind]
    numbers = dialect.server_version_info or ()
    return f"{name} {'.'.join(str(number) for number in numbers if isinstance(number, int))}".strip()


def _clock_ahead(database: Database, connection: Connection, now: Callable[[], datetime]) -> float:
    """How many seconds the server's clock is ahead of this host's. The server's time is compared with the middle of its
    round trip on this host's clock. Of several readings, the one with the shortest round trip counts."""
    readings: list[tuple[timedelta, float]] = []
    while len(readings) < _CLOCK_READINGS:
        before = now()
        server = database.now(connection)
        trip = now() - before
        readings.append((trip, (server - (before + trip / 2)).total_seconds()))
    return min(readings)[1]


_READ = ("SELECT",)
_KEEP = ("SELECT", "INSERT", "UPDATE")
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
# The tables that need fewer than all four rights. UPDATE is also needed to lock a row.
_FEWER: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **dict.fromkeys((BUDGETS.name, STATES.name, SCHEDULES.name, TOTALS.name, CURSORS.name, ACTS.name), _KEEP),
        OBSERVATIONS.name: ("SELECT", "INSERT", "DELETE"),
        DEPLOYMENT.name: ("SELECT", "UPDATE"),
    }
)
# The tests of rights wait only this long for a lock. Otherwise they would hold up `reconciler doctor` and probes while
# somebody alters a table.
_LOCK_SECONDS = 0.5
_ANSWER_SECONDS = 5.0
# The sequences for which the role lacks a right. The sequence of an identity column needs no right. The other sequences
# are not tested by using them, because each test would use up an id.
_SEQUENCES = sql(
    """
    SELECT sequence.relname
    FROM pg_depend AS owned
    JOIN pg_class AS sequence ON sequence.oid = owned.objid
    JOIN pg_class AS parent ON parent.oid = owned.refobjid
    WHERE owned.classid = 'pg_class'::regclass AND owned.refclassid = 'pg_class'::regclass AND owned.deptype = 'a'
      AND parent.relname = ANY (:tables) AND pg_table_is_visible(parent.oid)
      -- Other kinds of relations would be an error.
      AND CASE sequence.relkind WHEN 'S' THEN NOT has_sequence_privilege(sequence.oid, 'USAGE, UPDATE') END
    ORDER BY sequence.relname
    """
)


class _Try(NamedTuple):
    right: str
    table: TableClause

    @property
    def statement(self) -> Executable:
        columns = list(self.table.c)
        match self.right:
            case "SELECT":
                return select(*columns).where(false())
            case "INSERT":
                nothing = select(*(null() for _ in columns)).where(false())
                return insert(self.table).from_select([column.name for column in columns], nothing)
            case "UPDATE":
                return update(self.table).values({column.name: null() for column in columns}).where(false())
        return delete(self.table).where(false())


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingRights:
    """The rights that a role lacks."""

    role: str
    """The role's name, as the server gives it."""
    rights: Mapping[str, Sequence[str]]
    """The missing rights, by the name of the table or sequence; empty if none is missing."""
    is_superuser: bool = False

    @property
    def words(self) -> Sentence:
        """A clause for a message, with the role's name and the rights that the role lacks."""
        listed = "; ".join(f"{', '.join(rights)} on {thing}" for thing, rights in self.rights.items())
        return _("the role %(role)s lacks %(rights)s", self.role, listed or _("nothing"))


def needed_rights() -> Mapping[str, Sequence[str]]:
    """The rights that the programs need, by table. On PostgreSQL the programs also need USAGE of the tables' sequences;
    the sequences are not listed here."""
    return {VERSIONS.name: _READ} | {name: _FEWER.get(name, _ALL) for name in METADATA.tables}


def missing_rights(connection: Connection) -> MissingRights:
    """The rights that this session's role lacks. Writes nothing.

    If another error, such as a lock, prevents a test, that error is raised. The connection's settings decide how long a
    test waits for a lock.
    """
    kind = connection.dialect.name
    if kind == "sqlite":
        return MissingRights(role="", rights={})
    tables: Mapping[str, TableClause] = {VERSIONS.name: VERSIONS, **METADATA.tables}
    tries = [_Try(right, tables[name]) for name, rights in needed_rights().items() for right in rights]
    found: dict[str, list[str]] = {}
    for one in _lacking(connection, tries):
        found.setdefault(one.table.name, []).append(one.right)
    if kind == "postgresql":
        sequences = connection.scalars(_SEQUENCES, {"tables": list(tables)})
        found |= {name: ["USAGE"] for name in sequences}
    role = connection.exec_driver_sql("SELECT current_user").scalar_one()
    is_superuser = kind == "postgresql" and connection.exec_driver_sql("SHOW is_superuser").scalar_one() == "on"
    return MissingRights(role=str(role), rights=found, is_superuser=is_superuser)


def read_missing_rights(url: str) -> MissingRights:
    """The rights that the role in a database URL lacks. A new connection is made for the tests and closed again. Raises
    SQLAlchemy's errors, also if a table stays locked for longer than half a second."""
    with (
        Database(url, answer_seconds=_ANSWER_SECONDS, lock_seconds=_LOCK_SECONDS, pool_size=1) as database,
        # The transaction on this connection is never committed, so the tests change nothing.
        database.engine.connect() as connection,
    ):
        return missing_rights(connection)


def _lacking(connection: Connection, tries: Sequence[_Try]) -> Iterator[_Try]:
    """The tries that the server refuses. All are tried together; only if one is refused, each half is tried again. This
    is fast because usually none is refused."""
    if _are_permitted(connection, tries):
        return
    if len(tries) == 1:
        yield tries[0]
        return
    half = len(tries) // 2
    yield from _lacking(connection, tries[:half])
    yield from _lacking(connection, tries[half:])


def _are_permitted(connection: Connection, tries: Sequence[_Try]) -> bool:
    try:
        # On PostgreSQL a refused statement aborts its transaction. Rolling back to the savepoint makes the transaction
        # usable again.
        with connection.begin_nested():
            for one in tries:
                connection.execute(one.statement)
    except DBAPIError as error:
        if kind_of(error) is not ErrorKind.RIGHTS:
            raise
        return False
    return True
