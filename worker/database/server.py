"""What a database server says of itself: its version, its clock, and whether a COMMIT survives a power cut; and which
of the rights that the programs need its role lacks.

Each right is tried, by a statement that no row matches, in a transaction that is rolled back: so rights that the role
has by another role, by PUBLIC or for each column count as well. SQLite knows no rights.
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
# A row that is locked needs UPDATE. What is not named here needs all four.
_FEWER: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **dict.fromkeys((BUDGETS.name, STATES.name, SCHEDULES.name, TOTALS.name, CURSORS.name, ACTS.name), _KEEP),
        OBSERVATIONS.name: ("SELECT", "INSERT", "DELETE"),
        DEPLOYMENT.name: ("SELECT", "UPDATE"),
    }
)
# Nothing that is tried waits long: a table that somebody alters holds up doctor and probes otherwise.
_LOCK_SECONDS = 0.5
_ANSWER_SECONDS = 5.0
# An identity's sequence needs no right. A sequence is not tried: an id would be spent each time.
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
    """What a role lacks."""

    role: str
    """As the server names it."""
    rights: Mapping[str, Sequence[str]]
    """By table or sequence; empty where nothing is missing."""
    is_superuser: bool = False

    @property
    def words(self) -> Sentence:
        """What it lacks, as a clause."""
        listed = "; ".join(f"{', '.join(rights)} on {thing}" for thing, rights in self.rights.items())
        return _("the role %(role)s lacks %(rights)s", self.role, listed or _("nothing"))


def needed_rights() -> Mapping[str, Sequence[str]]:
    """The rights that the programs need, by table; on PostgreSQL also USAGE of the tables' sequences."""
    return {VERSIONS.name: _READ} | {name: _FEWER.get(name, _ALL) for name in METADATA.tables}


def missing_rights(connection: Connection) -> MissingRights:
    """What this session's role lacks. Writes nothing; raises what else keeps the statements from being tried, as a
    lock, after half a second."""
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
    """The same by a connection of its own, which is closed again. Raises SQLAlchemy's errors."""
    with (
        Database(url, answer_seconds=_ANSWER_SECONDS, lock_seconds=_LOCK_SECONDS, pool_size=1) as database,
        # Nothing commits it.
        database.engine.connect() as connection,
    ):
        return missing_rights(connection)


def _lacking(connection: Connection, tries: Sequence[_Try]) -> Iterator[_Try]:
    """Those that are refused. Mostly none is: all at once, then by halves, are far fewer round trips."""
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
        # A refused statement ends a transaction of PostgreSQL's, but for what came before the savepoint.
        with connection.begin_nested():
            for one in tries:
                connection.execute(one.statement)
    except DBAPIError as error:
        if kind_of(error) is not ErrorKind.RIGHTS:
            raise
        return False
    return True
