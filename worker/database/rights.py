"""Which rights to our tables the programs need, and which of them the database's role lacks.

Each right is tried, by a statement that no row matches, in a transaction that is rolled back: so rights that the role
has by another role, by PUBLIC or for each column count as well. SQLite knows no rights.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, Executable, TableClause, delete, false, insert, null, select, update
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.revisions import VERSIONS
from worker.database.tables import ACTS, BUDGETS, CURSORS, DEPLOYMENT, METADATA, OBSERVATIONS, SCHEDULES, STATES, TOTALS
from worker.database.transactions import Database
from worker.domain.records.sentences import Sentence, _

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


def missing_rights_words(url: str) -> Sentence | None:
    """What a role lacks, for the message of a statement that was refused; None where no right to our tables is missing,
    or where that cannot be found out."""
    try:
        found = read_missing_rights(url)
    except SQLAlchemyError:
        return None
    return found.words if found.rights else None
