"""Observations of when orders settle, what was learned from them, and the poll schedules of accounts.

The rows hold texts; `worker.domain.scheduling.stored_json` reads and writes them.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from worker.database.bulk_statements import held_of, insert_rows, one_of
from worker.database.tables import OBSERVATIONS, SCHEDULES

# Older than any time that matters.
_NEVER = datetime(1970, 1, 2, tzinfo=UTC)


class LearnedText(NamedTuple):
    """An account's row: what was learned, as text, and when its schedule was last computed."""

    learned: str
    computed_at: datetime


def add_observation_texts(connection: Connection, texts: Mapping[str, str], now: datetime) -> None:
    """Add a row of observations for each of these accounts."""
    rows = [{"account": account, "observed_at": now, "observations": text} for account, text in texts.items()]
    insert_rows(connection, OBSERVATIONS, rows)


def read_oldest_observations(connection: Connection, account: str, most: int) -> tuple[list[int], list[str], bool]:
    """The account's oldest rows of observations, at most `most`: their ids, their texts, and whether these are all."""
    oldest = (
        select(OBSERVATIONS.c.id, OBSERVATIONS.c.observations)
        .where(OBSERVATIONS.c.account == account)
        .order_by(OBSERVATIONS.c.id)
    )
    rows = connection.execute(oldest.limit(most + 1)).all()
    return [row.id for row in rows[:most]], [row.observations for row in rows[:most]], len(rows) <= most


def drop_observations(connection: Connection, ids: Collection[int]) -> None:
    """Delete these rows of observations."""
    if ids:
        connection.execute(delete(OBSERVATIONS).where(one_of(connection, OBSERVATIONS.c.id, ids)))


def first_with_observations(connection: Connection, accounts: Sequence[str]) -> str | None:
    """One of these accounts that has observations; None where none has."""
    first = connection.scalar(held_of(connection, OBSERVATIONS.c.account, accounts).limit(1)) if accounts else None
    return None if first is None else str(first)


def read_computed_at(connection: Connection, accounts: Sequence[str]) -> dict[str, datetime]:
    """When the schedule of each of these accounts was last computed; without those that have none."""
    ours = select(SCHEDULES.c.account, SCHEDULES.c.computed_at).where(one_of(connection, SCHEDULES.c.account, accounts))
    return {row.account: row.computed_at for row in connection.execute(ours)}


def read_account_computed_at(connection: Connection, account: str) -> datetime | None:
    """When an account's schedule was last computed; None where it has none."""
    return connection.scalar(select(SCHEDULES.c.computed_at).where(SCHEDULES.c.account == account))


def read_schedule_text(connection: Connection, account: str) -> tuple[datetime, str]:
    """When the schedule of an account that has one was last computed, and the schedule as text."""
    row = connection.execute(
        select(SCHEDULES.c.computed_at, SCHEDULES.c.schedule).where(SCHEDULES.c.account == account)
    ).one()
    return row.computed_at, row.schedule


def lock_learned(connection: Connection, account: str) -> LearnedText | None:
    """The account's row, locked; None where somebody else has it. A missing row is added."""
    statement = select(SCHEDULES.c.learned, SCHEDULES.c.computed_at).where(SCHEDULES.c.account == account)
    locking = statement.with_for_update(skip_locked=True)
    row = connection.execute(locking).one_or_none()
    if row is None and connection.execute(statement).one_or_none() is None:
        connection.execute(insert(SCHEDULES).values(account=account, learned="{}", schedule="{}", computed_at=_NEVER))
        row = connection.execute(locking).one_or_none()
    return None if row is None else LearnedText(*row)


def save_learned(connection: Connection, account: str, computed_at: datetime, texts: Mapping[str, str]) -> None:
    """Write a locked row's time, and the texts that change, by column name."""
    values = {"computed_at": computed_at, **texts}
    connection.execute(update(SCHEDULES).where(SCHEDULES.c.account == account).values(values))
