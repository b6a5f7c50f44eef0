"""Migrations of a database to the revision that the code needs, or to another revision; the direction of a migration;
and checks that a migration down loses no data.

Errors are MigrationErrors of one line that says what to do: the database is newer than the code (NotAtHead), another
migration is running, a table is in use, the revision does not exist, or a migration down would lose data. An
unreachable database raises SQLAlchemy's errors. Alembic keeps its state in global variables, so a process must run one
migration at a time and without threads.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, bindparam, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from worker.database.column_types import UtcDateTime
from worker.database.engine import missing_file
from worker.database.revisions import MigrationError, newer, revisions, script_location
from worker.database.transactions import Database, is_contention
from worker.domain.records.sentences import N_, Sentence

BASE = "base"
"""The state before the first revision: an empty database."""
_FIRST_RELEASED = "0023"
"""The revision that release 1.0.0 needs; no release needs an earlier revision."""

# The data that a migration down may lose. Each entry has the revision below which the data is lost, the table, the
# condition that finds the rows with the data, a name for the data, and the remedy. Each condition must start with a
# column: the condition is skipped if the database, at its present revision, does not have that column.
_KEEP_A_COPY = N_("keep a copy, empty that column, then migrate down again")
_CANCEL_THEM = N_(
    "cancel them (`reconciler resume ACCOUNT --planned`, without it if one has begun), then migrate down again"
)
_NOTHING_LEFT = N_("to begin again, drop the database and make an empty one")
_LOST_BELOW: Sequence[tuple[str, str, str, str, str]] = (
    (
        "0033",
        "deployment",
        "orders_deleted_before IS NOT NULL",
        N_("the time before which orders were deleted (orders_deleted_before)"),
        _KEEP_A_COPY,
    ),
    (
        "0032",
        "account_pauses",
        "paused_until IS NULL OR paused_until > :now"
        " GROUP BY account, is_planned AND paused_at > :now HAVING count(*) > 1",
        N_("all but one pause or plan of an account"),
        _CANCEL_THEM,
    ),
    ("0024", "account_pauses", "is_planned AND paused_at > :now", N_("the planned pauses"), _CANCEL_THEM),
    ("0024", "account_states", "planned_until > :now", N_("the planned pauses"), _CANCEL_THEM),
    *(
        ("0001", table, "id IS NOT NULL", N_("all that it holds"), _NOTHING_LEFT)
        for table in ("recharge_orders", "order_events", "platform_queries", "rejected_orders", "unmatched_callbacks")
    ),
)

# A schema change waits only this long for a table, because later statements on the table have to wait behind it.
_TABLE_LOCK_SECONDS = 5
_OTHER_MIGRATION_SECONDS = 60.0
_POLL_SECONDS = 0.1

_LOCK_TIMEOUTS = {
    "postgresql": f"SET lock_timeout = '{_TABLE_LOCK_SECONDS}s'",
    "mysql": f"SET SESSION lock_wait_timeout = {_TABLE_LOCK_SECONDS}",
}
# The statements that try to take the lock of migrations, without waiting for it; they are repeated instead. If a
# statement waited, its transaction would stay open. The other migration's CREATE INDEX CONCURRENTLY waits for every
# older transaction, so neither would ever end. On MariaDB all databases of a server share the names of these locks, so
# the name contains the database's.
_TRY_LOCKS = {
    "postgresql": f"SELECT pg_try_advisory_lock({int.from_bytes(b'reconcil', 'big')})",
    "mysql": "SELECT GET_LOCK(CONCAT('reconciler.', MD5(DATABASE())), 0)",
}


class Direction(Enum):
    """The direction of a migration."""

    UP = "up"
    NONE = "none"
    DOWN = "down"


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database at a SQLAlchemy URL to a revision, by default the code's own. Does nothing if the database
    is already at that revision or beyond.

    Several upgrades at once are harmless: one of them migrates, and the others wait until it ends and then find nothing
    to do. Raises MigrationError.
    """
    with _errors_in_our_words(), migration_session(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Downgrade the database to a revision; `base` drops every table with all its rows.

    Raises MigrationError, also if the revision does not exist, or if a revision on the way down refuses to lose data.
    """
    with _errors_in_our_words(), migration_session(url) as connection:
        command.downgrade(_config(connection), revision)


def target_of(revision: str | None) -> str:
    """The revision that a person means by a number or by `base`; for None or `head`, this release's own revision.
    Raises MigrationError if there is no such revision."""
    known = revisions()
    if revision in (None, "head"):
        return known[-1]
    if revision != BASE and revision not in known:
        raise MigrationError(
            "there is no revision %(revision)r; this release knows %(first)s to %(last)s, and %(base)s",
            revision,
            known[0],
            known[-1],
            BASE,
        )
    return revision or known[-1]


def direction(before: str | None, target: str) -> Direction:
    """The direction of the migration from the revision `before` to `target`. `before` is None if the database was never
    migrated.

    Raises MigrationError if this release does not know `before`.
    """
    order = [BASE, *revisions()]
    start = before or BASE
    if start not in order:
        raise newer(start)
    way = order.index(target) - order.index(start)
    return Direction.UP if way > 0 else Direction.DOWN if way < 0 else Direction.NONE


def refuse_to_lose(connection: Connection, before: str, target: str) -> None:
    """Raise MigrationError if the migration down would lose data that somebody may need, or if no release needs the
    revision `target`.

    Data that workers keep for themselves and can find out again (learned facts, counts of absences) may be lost. Data
    that only one revision knows of is not tested here: that revision itself refuses to lose the data.
    """
    if BASE != target < _FIRST_RELEASED:
        raise MigrationError(
            "no release needs revision %(target)s: the way down ends at %(first)s, that of 1.0.0, or at %(base)s",
            target,
            _FIRST_RELEASED,
            BASE,
        )
    order = [BASE, *revisions()]
    tables = inspect(connection).get_multi_columns().items()
    present = {(table, column["name"]) for (_, table), columns in tables for column in columns}
    for revision, table, condition, what, remedy in _LOST_BELOW:
        is_on_the_way = order.index(target) < order.index(revision) <= order.index(before)
        if is_on_the_way and (table, condition.partition(" ")[0]) in present:
            held = text(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1")  # noqa: S608  # our own words
            # The present time comes from this host's clock, because MariaDB would give it in the session's time zone.
            now = [bindparam("now", datetime.now(UTC), type_=UtcDateTime())] if ":now" in condition else []
            if connection.scalar(held.bindparams(*now)) is not None:
                lost, to_do = Sentence(what), Sentence(remedy)
                raise MigrationError(
                    "the way down to %(target)s would lose of %(table)s %(what)s: %(do)s", target, table, lost, to_do
                )


@contextmanager
def _errors_in_our_words() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise MigrationError("%(why)s", error) from None


@contextmanager
def migration_session(url: str, *, patience_seconds: float = _OTHER_MIGRATION_SECONDS) -> Iterator[Connection]:
    """A connection for migrations. No other migration runs meanwhile, and statements on this connection wait at most 5
    seconds for a table.

    `patience_seconds`: how long to wait for another migration to end, or on SQLite for any writer to end. Raises
    MigrationError. If a SQLite database is new, its file is created so that only the owner can access it, and also the
    files that SQLite adds beside it.
    """
    if file := missing_file(url):
        # If the file cannot be created, no error is raised here, because opening the database raises one below.
        with suppress(OSError):
            file.touch(0o600)
    try:
        # At the end of this block the connection closes, which releases the lock of migrations.
        with Database(url, pool_size=1) as database:
            if database.kind == "sqlite":
                # On SQLite the transaction's BEGIN IMMEDIATE takes the lock. All revisions run in this one transaction.
                event.listen(database.engine, "connect", _sqlite_patience(patience_seconds))
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


def _sqlite_patience(seconds: float) -> Callable[[Any, object], None]:
    return lambda connection, _record: connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def _take_lock(connection: Connection, kind: str, patience_seconds: float) -> None:
    connection.exec_driver_sql(_LOCK_TIMEOUTS[kind])
    give_up = time.monotonic() + patience_seconds
    while not connection.exec_driver_sql(_TRY_LOCKS[kind]).scalar_one():
        connection.commit()
        if time.monotonic() > give_up:
            raise MigrationError("another migration is under way: run `reconciler migrate` again when it has ended")
        time.sleep(_POLL_SECONDS)
    # The lock and the timeout remain after this commit. It ends the open transaction, because Alembic begins a
    # transaction for each revision.
    connection.commit()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    # Percent signs are doubled because Alembic reads a single one as the start of a reference to another option.
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
