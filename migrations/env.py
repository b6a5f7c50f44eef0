"""What Alembic runs a migration against, and with which guards.

`worker.database.migrations` hands its session over. The plain `alembic` command gets one on the database that
our settings name, so that no URL stands in any configuration file.
"""

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection

from worker.database.migrations import migration_session
from worker.database.revisions import MigrationError, refuse_newer
from worker.database.tables import METADATA
from worker.settings import load_settings


def _run_on(connection: Connection) -> None:
    refuse_newer(connection)
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        compare_type=True,
        compare_server_default=True,
        # A revision that is done stays done when a later one fails; and one that needs it may leave its transaction
        # (CREATE INDEX CONCURRENTLY).
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise CommandError("statements cannot be printed: the revisions read the database that they change")
if (handed_over := context.config.attributes.get("connection")) is not None:
    _run_on(handed_over)
else:
    try:
        with migration_session(load_settings().database_dsn) as own:
            _run_on(own)
    except MigrationError as error:
        # Of this the `alembic` command shows the message alone.
        raise CommandError(str(error)) from error
