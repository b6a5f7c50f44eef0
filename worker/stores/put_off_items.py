"""Items of lists that wait for orders which somebody else holds locked."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from worker.database.tables import PUT_OFF


class PutOffRow(NamedTuple):
    """A row: the task that brought its items, and these as JSON."""

    source: str
    payload: str


def put_off(connection: Connection, payload: str, item_count: int, source: str, now: datetime) -> int:
    """Store items of a list, as JSON, to be taken in later; returns how many they are."""
    row = {"received_at": now, "source": source, "payload": payload, "item_count": item_count}
    connection.execute(insert(PUT_OFF).values(row))
    return item_count


def find_put_off(connection: Connection, after: int, most: int) -> list[int]:
    """The ids of the next rows after an id."""
    later = select(PUT_OFF.c.id).where(PUT_OFF.c.id > after).order_by(PUT_OFF.c.id)
    return list(connection.scalars(later.limit(most)))


def lock_put_off(connection: Connection, row_id: int) -> PutOffRow | None:
    """Lock and read a row; None if it is gone, or somebody else holds it."""
    chosen = select(PUT_OFF.c.source, PUT_OFF.c.payload).where(PUT_OFF.c.id == row_id)
    row = connection.execute(chosen.with_for_update(skip_locked=True)).first()
    return None if row is None else PutOffRow(*row)


def leave_put_off(connection: Connection, row_id: int, items: Sequence[object]) -> None:
    """Leave these items in a locked row; without any it is deleted."""
    values = {"payload": json.dumps(items), "item_count": len(items)}
    its = PUT_OFF.c.id == row_id
    connection.execute(update(PUT_OFF).where(its).values(values) if items else delete(PUT_OFF).where(its))
