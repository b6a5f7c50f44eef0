"""The revisions that this release knows, and the check that a database is at the revision that this release needs.

Every command and every worker makes this check when it starts. To keep the start fast, this module does not import
Alembic, which only migrations need.

Errors are MigrationErrors of one line that says what to do. NotAtHead is raised if the database is not migrated, is
behind the code or is newer than the code. An unreachable database raises SQLAlchemy's errors.
"""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from worker.database.engine import missing_file
from worker.database.transactions import ANSWER_SECONDS, Database
from worker.domain.records.sentences import Refusal, _

VERSIONS = table("alembic_version", column("version_num"))
"""Alembic's own table; it has one row."""


_MIGRATE = _("run `reconciler migrate`")
_INSTALL_AGAIN = _("install recharge-reconciler again")
_NOT_MIGRATED = _("the database has not been migrated yet")


class MigrationError(Refusal):
    """The database cannot be migrated, or cannot be used as it is; `str()` says what to do."""


class NotAtHead(MigrationError):
    """The database is not at the revision that the code needs."""


def check_at_head(url: str) -> None:
    """Raise NotAtHead unless the database is at the code's revision; leaves no connection open."""
    if missing_file(url):
        # Do not connect: this would create the file, readable by everybody.
        raise NotAtHead("%(what)s: %(do)s", _NOT_MIGRATED, _MIGRATE)
    with Database(url, answer_seconds=ANSWER_SECONDS, pool_size=1) as database, database.read() as connection:
        heads = _revisions_of(connection)
    _refuse_unknown(heads)
    if not heads:
        raise NotAtHead("%(what)s: %(do)s", _NOT_MIGRATED, _MIGRATE)
    needed = revisions()[-1]
    if heads != {needed}:
        behind = _("the database is at revision %(found)s, but this release needs %(needed)s", _listed(heads), needed)
        raise NotAtHead("%(what)s: %(do)s", behind, _MIGRATE)


@cache
def revisions() -> tuple[str, ...]:
    """All revisions that this release knows, oldest first; the release needs the last one. Read once per process.

    The revisions' numbers are read from the names of their files, so a command that does not migrate need not import
    the files. Raises MigrationError if the files are missing.
    """
    folder = script_location() / "versions"
    known = tuple(sorted(file.name.partition("_")[0] for file in folder.glob("[0-9]*.py")))
    if not known:
        raise MigrationError("%(what)s: %(do)s", _("there is no migration in %(folder)s", folder), _INSTALL_AGAIN)
    return known


def revision_fault(connection: Connection) -> str | None:
    """Why the database cannot be used; None if it is at this release's revision or at a newer release's revision."""
    found, needed = _revisions_of(connection), revisions()[-1]
    if found == {needed} or found - set(revisions()):
        return None
    return f"the database is at revision {_listed(found) or 'none'}, but needs {needed}"


def revision_of(connection: Connection) -> str | None:
    """The revision that the database is at; None before the first migration."""
    return _listed(_revisions_of(connection)) or None


def refuse_newer(connection: Connection) -> None:
    """Raise NotAtHead if the database is at a revision that the code does not know. If no transaction was open before,
    none is open afterwards."""
    in_transaction = connection.in_transaction()
    found = _revisions_of(connection)
    if not in_transaction:
        # SQLAlchemy began a transaction for this read. If it stayed open, Alembic would take it for a transaction that
        # its caller commits, and would never commit it.
        connection.rollback()
    _refuse_unknown(found)


def _refuse_unknown(found: set[str]) -> None:
    if unknown := found - set(revisions()):
        raise newer(_listed(unknown))


def newer(revision: str) -> NotAtHead:
    """Make the error for a database that is at a newer release's revision."""
    return NotAtHead(
        "%(what)s: %(do)s",
        _("the database is newer than this release, which does not know its revision %(revision)s", revision),
        _("install the release that migrated it, or a newer one"),
    )


def script_location() -> Path:
    """The folder that contains env.py and the revisions. In a wheel it is inside the package; in a checkout it is
    beside the package."""
    package = Path(__file__).parents[1]
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    missing = _("the migrations are missing beside %(folder)s", package)
    raise MigrationError("%(what)s: %(do)s", missing, _INSTALL_AGAIN)


def _revisions_of(connection: Connection) -> set[str]:
    if not inspect(connection).has_table(VERSIONS.name):
        return set()
    return set(connection.scalars(select(VERSIONS.c.version_num)))


def _listed(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions))
