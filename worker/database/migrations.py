"""Migrating a database to the revision that the code needs, and refusing one that is at another.

Errors are MigrationError, each one line that says what to do:
  NotAtHead      the database is not migrated, behind, or newer than the code
  (itself)       another migration is under way, or a table is in use
An unreachable database raises SQLAlchemy's errors. Alembic keeps what it is doing in global names: one migration per
process at a time, no threads.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from worker.adapters.private_files import make_private
from worker.database.engine import missing_file
from worker.database.transactions import ANSWER_SECONDS, Database, is_contention

# While a schema change waits for a table, later statements on it wait too: it gives up soon.
_TABLE_LOCK_SECONDS = 5
_OTHER_MIGRATION_SECONDS = 60.0
_POLL_SECONDS = 0.1

_LOCK_TIMEOUTS = {
    "postgresql": f"SET lock_timeout = '{_TABLE_LOCK_SECONDS}s'",
    "mysql": f"SET SESSION lock_wait_timeout = {_TABLE_LOCK_SECONDS}",
}
# Tried again and again, not waited for: CREATE INDEX CONCURRENTLY waits for every older transaction, and one that waits
# for this lock would never end. On MariaDB such names are shared by the whole server.
_TRY_LOCKS = {
    "postgresql": f"SELECT pg_try_advisory_lock({int.from_bytes(b'reconcil', 'big')})",
    "mysql": "SELECT GET_LOCK(CONCAT('reconciler.', MD5(DATABASE())), 0)",
}


class MigrationError(CommandError):
    """A migration cannot be run now. As a CommandError of Alembic, its own command shows the message alone."""


class NotAtHead(MigrationError):
    """The database is not at the revision that the code needs."""


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at a SQLAlchemy URL up to a revision, the code's own by default; does nothing beyond it.

    Several at once are harmless: one migrates, the others wait for it and find nothing to do. Raises MigrationError.
    """
    with migration_session(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision; `base` drops every table with all that is in it.

    Raises MigrationError, also where there is no such revision, or one on the way refuses to lose something.
    """
    try:
        with migration_session(url) as connection:
            command.downgrade(_config(connection), revision)
    except MigrationError:
        raise
    except CommandError as error:
        raise MigrationError(str(error)) from None


def check_at_head(url: str) -> None:
    """Raise NotAtHead unless the database is at the code's revision; leaves no connection open."""
    script = ScriptDirectory(str(script_location()))
    if missing_file(url):
        # To connect would make the file, readable by everybody.
        raise NotAtHead("the database has not been migrated yet: run `reconciler migrate`")
    database = Database(url, answer_seconds=ANSWER_SECONDS, pool_size=1)
    try:
        with database.read() as connection:
            refuse_newer(connection, script)
            heads = _revisions_of(connection)
    finally:
        database.close()
    if not heads:
        raise NotAtHead("the database has not been migrated yet: run `reconciler migrate`")
    needed = set(script.get_heads())
    if heads != needed:
        raise NotAtHead(
            f"the database is at revision {_listed(heads)}, but this release needs {_listed(needed)}:"
            " run `reconciler migrate`"
        )


class RevisionCheck:
    """Whether a database is at this release's revision, or at that of a newer one. Reads the revisions once."""

    def __init__(self) -> None:
        script = ScriptDirectory(str(script_location()))
        self._needed = set(script.get_heads())
        self._known = {known.revision for known in script.walk_revisions()}

    def fault(self, connection: Connection) -> str | None:
        """Why the database cannot be used, or None where it can."""
        found = _revisions_of(connection)
        if found == self._needed or found - self._known:
            return None
        return f"the database is at revision {_listed(found) or 'none'}, but needs {_listed(self._needed)}"


def revision_of(connection: Connection) -> str | None:
    """The revision that the database is at; None before the first migration."""
    return _listed(_revisions_of(connection)) or None


def refuse_newer(connection: Connection, script: ScriptDirectory) -> None:
    """Raise NotAtHead where the database is at a revision that the code does not know; begins no transaction."""
    in_transaction = connection.in_transaction()
    unknown = _revisions_of(connection) - {known.revision for known in script.walk_revisions()}
    if not in_transaction:
        # Alembic would take the transaction that SQLAlchemy began for one of ours, and never commit it.
        connection.rollback()
    if unknown:
        raise NotAtHead(
            f"the database is newer than this release, which does not know its revision {_listed(unknown)}:"
            " install the release that migrated it, or a newer one"
        )


def script_location() -> Path:
    """The folder with env.py and the revisions: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise MigrationError(f"the migrations are missing beside {package}: install recharge-reconciler again")


@contextmanager
def migration_session(url: str, *, patience_seconds: float = _OTHER_MIGRATION_SECONDS) -> Iterator[Connection]:
    """A connection for migrations: no other migration runs meanwhile, and it waits 5 seconds at most for a table.

    `patience_seconds`: how long to wait for another migration to end. Raises MigrationError. The file of a new SQLite
    database is its owner's alone, and so are those that SQLite puts beside it.
    """
    if file := missing_file(url):
        make_private(file)
    database = Database(url, pool_size=1)
    try:
        if database.kind == "sqlite":
            # BEGIN IMMEDIATE is the lock, and the transaction holds all revisions.
            with database.write() as connection:
                yield connection
        else:
            with database.engine.connect() as connection:
                _take_lock(connection, "postgresql" if database.kind == "postgresql" else "mysql", patience_seconds)
                yield connection
    except DBAPIError as error:
        if isinstance(error, IntegrityError) or not is_contention(error):
            raise
        raise MigrationError(
            "a table is in use by another session: run the same command again later, and start nothing before that"
        ) from error
    finally:
        # The lock ends with its connection.
        database.close()


def _take_lock(connection: Connection, kind: str, patience_seconds: float) -> None:
    connection.exec_driver_sql(_LOCK_TIMEOUTS[kind])
    give_up = time.monotonic() + patience_seconds
    while not connection.exec_driver_sql(_TRY_LOCKS[kind]).scalar_one():
        connection.commit()
        if time.monotonic() > give_up:
            raise MigrationError("another migration is under way: run `reconciler migrate` again when it has ended")
        time.sleep(_POLL_SECONDS)
    # Both outlive the transaction; Alembic begins one for each revision.
    connection.commit()


def _config(connection: Connection) -> Config:
    config = Config()
    # Alembic reads a percent sign as the start of a reference to another option.
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revisions_of(connection: Connection) -> set[str]:
    return set(MigrationContext.configure(connection).get_current_heads())


def _listed(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions))
