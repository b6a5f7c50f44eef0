"""Migrating a database to the revision that the code needs, or to another one.

Errors are MigrationError, each one line that says what to do: the database is newer than the code (NotAtHead), another
migration is under way, a table is in use, there is no such revision, or the way down would lose something. An
unreachable database raises SQLAlchemy's errors. Alembic keeps what it is doing in global names: one migration per
process at a time, no threads.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from worker.adapters.private_files import make_private
from worker.database.engine import missing_file
from worker.database.revisions import MigrationError, script_location
from worker.database.transactions import Database, is_contention

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


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at a SQLAlchemy URL up to a revision, the code's own by default; does nothing beyond it.

    Several at once are harmless: one migrates, the others wait for it and find nothing to do. Raises MigrationError.
    """
    with _errors_in_our_words(), migration_session(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision; `base` drops every table with all that is in it.

    Raises MigrationError, also where there is no such revision, or one on the way refuses to lose something.
    """
    with _errors_in_our_words(), migration_session(url) as connection:
        command.downgrade(_config(connection), revision)


@contextmanager
def _errors_in_our_words() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise MigrationError(str(error)) from None


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
