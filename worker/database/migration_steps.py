"""Where a migration leads: to which revision, up or down, what would be lost on the way, and its statements as text.

Errors are MigrationError, each one line that says what to do.
"""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, bindparam, text

from worker.database.column_types import UtcDateTime
from worker.database.revisions import MigrationError, revisions, script_location

BASE = "base"
"""No revision at all: an empty database."""

# (the revision below which it is lost, table, which rows hold it, what it is, what to do)
_KEEP_A_COPY = "keep a copy, empty that column, then migrate down again"
_NOTHING_LEFT = "to begin again, drop the database and make an empty one"
_LOST_BELOW: Sequence[tuple[str, str, str, str, str]] = (
    ("0015", "recharge_orders", "amount_is_price", "which amounts are no charge (amount_is_price)", _KEEP_A_COPY),
    (
        "0010",
        "unmatched_callbacks",
        "trust = 'check'",
        "which callbacks may settle nothing (trust)",
        "delete those rows, since queries settle their orders, then migrate down again",
    ),
    (
        "0009",
        "notifications",
        "state <> 'delivered'",
        "what nobody has received yet",
        "let the worker deliver them (`reconciler notifications`, `resend --gave-up`), or remove them by"
        " `reconciler notifications --forget ACCOUNT`, then migrate down again",
    ),
    ("0008", "order_events", "actor IS NOT NULL", "the names of those who acted on orders (actor)", _KEEP_A_COPY),
    (
        "0008",
        "account_states",
        "paused_at IS NOT NULL AND paused_until > :now",
        "the end of a pause (paused_until)",
        "`reconciler resume` the account, or pause it without an end, then migrate down again",
    ),
    ("0008", "recharge_orders", "reopened_at IS NOT NULL", "when orders were reopened (reopened_at)", _KEEP_A_COPY),
    *(
        ("0001", table, "1 = 1", "all that it holds", _NOTHING_LEFT)
        for table in ("recharge_orders", "order_events", "platform_queries", "rejected_orders", "unmatched_callbacks")
    ),
)


class Direction(Enum):
    """Which way a migration goes."""

    UP = "up"
    NONE = "none"
    DOWN = "down"


def target_of(revision: str | None) -> str:
    """The revision that a person names: a number, `base`, or None for this release's. Raises MigrationError."""
    known = revisions()
    if revision in (None, "head"):
        return known[-1]
    if revision != BASE and revision not in known:
        raise MigrationError(
            f"there is no revision {revision!r}; this release knows {known[0]} to {known[-1]}, and {BASE}"
        )
    return revision or known[-1]


def direction(before: str | None, target: str) -> Direction:
    """Which way leads from one revision to another; None is a database that was never migrated.

    Raises MigrationError where the release does not know the first.
    """
    order = [BASE, *revisions()]
    start = before or BASE
    if start not in order:
        raise MigrationError(
            f"the database is newer than this release, which does not know its revision {start}:"
            " install the release that migrated it, or a newer one"
        )
    way = order.index(target) - order.index(start)
    return Direction.UP if way > 0 else Direction.DOWN if way < 0 else Direction.NONE


def refuse_to_lose(connection: Connection, before: str, target: str) -> None:
    """Raise MigrationError where the way down from one revision to another would lose what somebody may need.

    What a worker keeps for itself and finds out again (what was learned, counts of absences) may be lost. Revisions
    refuse by themselves what only they know of, such as orders in the archive.
    """
    order = [BASE, *revisions()]
    for revision, table, condition, what, remedy in _LOST_BELOW:
        if order.index(target) < order.index(revision) <= order.index(before):
            held = text(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1")  # noqa: S608  # our own words
            # Not the database's own word for now: MariaDB's is in the time zone of the session.
            now = [bindparam("now", datetime.now(UTC), type_=UtcDateTime())] if ":now" in condition else []
            if connection.scalar(held.bindparams(*now)) is not None:
                raise MigrationError(f"the way down to {target} would lose of {table} {what}: {remedy}")


def upgrade_sql(url: str, before: str | None, target: str) -> str:
    """The statements that lead up from one revision to another, for the kind of database at a URL; connects nowhere."""
    written = io.StringIO()
    config = Config(output_buffer=written)
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    config.attributes["url"] = url
    command.upgrade(config, f"{before or BASE}:{target}", sql=True)
    return written.getvalue()
