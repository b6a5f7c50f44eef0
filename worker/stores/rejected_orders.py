"""What was refused is kept, with its errors."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert

from worker.database.tables import RejectedOrder, table_of
from worker.domain.records.incoming import RefusedText

REJECTED = table_of(RejectedOrder)


def keep(connection: Connection, refused: Iterable[RefusedText], source: str, now: datetime) -> None:
    """Store refused input; `source` is the task or command that brought it."""
    rows = [{"received_at": now, "source": source, "payload": one.payload, "errors": one.errors} for one in refused]
    if rows:
        connection.execute(insert(REJECTED), rows)
