"""Which revisions this release knows, and whether a database is at the one that it needs. Without Alembic, which only
a migration needs: every command and every worker checks this at its start.

Errors are MigrationError, each one line that says what to do; NotAtHead where the database is not migrated, behind, or
newer than the code. An unreachable database raises SQLAlchemy's errors.
"""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from worker.database.engine import missing_file
from worker.database.transactions import ANSWER_SECONDS, Database
from worker.domain.records.sentences import Refusal, _

VERSIONS = table("alembic_version", column("version_num"))
"""Alembic's own table, of one row."""


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
        # To connect would make the file, readable by everybody.
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
    """Every revision that this release knows, the first one first; it needs the last one. Read once per process.

    By the names of their files, which begin with their numbers: a command that only reads does not run them all. Raises
    MigrationError where they are missing.
    """
    folder = script_location() / "versions"
    known = tuple(sorted(file.name.partition("_")[0] for file in folder.glob("[0-9]*.py")))
    if not known:
        raise MigrationError("%(what)s: %(do)s", _("there is no migration in %(folder)s", folder), _INSTALL_AGAIN)
    return known


def revision_fault(connection: Connection) -> str | None:
    """Why the database cannot be used, or None where it is at this release's revision, or at that of a newer one."""
    found, needed = _revisions_of(connection), revisions()[-1]
    if found == {needed} or found - set(revisions()):
        return None
    return f"the database is at revision {_listed(found) or 'none'}, but needs {needed}"


def revision_of(connection: Connection) -> str | None:
    """The revision that the database is at; None before the first migration."""
    return _listed(_revisions_of(connection)) or None


def refuse_newer(connection: Connection) -> None:
    """Raise NotAtHead where the database is at a revision that the code does not know; begins no transaction."""
    in_transaction = connection.in_transaction()
    found = _revisions_of(connection)
    if not in_transaction:
        # Alembic would take the transaction that SQLAlchemy began for one of ours, and never commit it.
        connection.rollback()
    _refuse_unknown(found)


def _refuse_unknown(found: set[str]) -> None:
    if unknown := found - set(revisions()):
        raise newer(_listed(unknown))


def newer(revision: str) -> NotAtHead:
    """The refusal of a database that is at a revision of a newer release."""
    return NotAtHead(
        "%(what)s: %(do)s",
        _("the database is newer than this release, which does not know its revision %(revision)s", revision),
        _("install the release that migrated it, or a newer one"),
    )


def script_location() -> Path:
    """The folder with env.py and the revisions: inside the package in a wheel, beside it in a checkout."""
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
