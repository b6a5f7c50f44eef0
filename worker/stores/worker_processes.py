"""The rows of worker processes: each writes its own, and deletes those that nobody writes any more."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from worker.database.tables import WORKERS
from worker.domain.records.overview import WorkerRow


def save_worker(connection: Connection, row: WorkerRow) -> None:
    """Write a process's row; begin it where it is missing."""
    values = asdict(row)
    # These stay the same as long as the process lives, and there may be many: they are not written every few seconds.
    accounts = ",".join(values.pop("accounts") or ())
    if connection.execute(update(WORKERS).where(WORKERS.c.name == row.name).values(values)).rowcount == 0:
        connection.execute(insert(WORKERS).values({**values, "accounts": accounts}))


def delete_worker(connection: Connection, name: str) -> None:
    """Delete a process's row."""
    connection.execute(delete(WORKERS).where(WORKERS.c.name == name))


def delete_unwritten(connection: Connection, before: datetime) -> None:
    """Delete the rows that were last written before a time."""
    # Read first, and by name: a search that deletes would lock every row of the table on MariaDB.
    old = list(connection.scalars(select(WORKERS.c.name).where(WORKERS.c.written_at < before)))
    for name in old:
        connection.execute(delete(WORKERS).where(WORKERS.c.name == name, WORKERS.c.written_at < before))
