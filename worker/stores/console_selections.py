"""What pages of the console have shown of many orders, for the acts that they ask for."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from worker.database.tables import SELECTIONS

_KEPT = timedelta(hours=12)


def add_selection(connection: Connection, selection: str, event_counts: Mapping[int, int], now: datetime) -> None:
    """Keep how many events each of these orders was shown with; forget what was shown half a day ago."""
    connection.execute(delete(SELECTIONS).where(SELECTIONS.c.shown_at < now - _KEPT))
    kept = json.dumps(event_counts, separators=(",", ":"))
    connection.execute(insert(SELECTIONS).values(id=selection, shown_at=now, event_counts=kept))


def read_selection(connection: Connection, selection: str) -> dict[int, int] | None:
    """The number of events of each order as it was shown; None where that is forgotten."""
    kept = connection.scalar(select(SELECTIONS.c.event_counts).where(SELECTIONS.c.id == selection))
    return None if kept is None else {int(order_id): count for order_id, count in json.loads(kept).items()}
