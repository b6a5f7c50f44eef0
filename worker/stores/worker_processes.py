"""The rows of worker processes: each writes its own, and deletes those that nobody writes any more."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from worker.database.identity import identity_beside
from worker.database.tables import WORKERS
from worker.domain.records.overview import WorkerRow
from worker.domain.records.slots import DatabaseIdentity

_COLUMNS = [WORKERS.c[field.name] for field in fields(WorkerRow)]


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


def read_workers(connection: Connection, *, host: str | None = None) -> Sequence[WorkerRow]:
    """The rows of all processes, or of those on one host, by name: those that were written in this database. A restore
    brings back others, of processes that may be gone."""
    statement = select(*_COLUMNS).order_by(WORKERS.c.name)
    if host is not None:
        statement = statement.where(WORKERS.c.host == host)
    rows = connection.execute(statement).mappings()
    read = [WorkerRow(**{**row, "accounts": _split(row["accounts"])}) for row in rows]
    written_in = [DatabaseIdentity(row.database_identity or "") for row in read]
    present = identity_beside(connection, written_in)
    return [row for row, its in zip(read, written_in, strict=True) if not present.differs_from(its)]


def _split(accounts: str | None) -> tuple[str, ...] | None:
    # No account's name holds a comma, and none is empty.
    return None if accounts is None else tuple(filter(None, accounts.split(",")))
