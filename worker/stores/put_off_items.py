"""Items of lists that wait for orders which somebody else holds locked."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from worker.database.tables import PUT_OFF


class PutOffRow(NamedTuple):
    """A row: when its items came, the task that brought them, these as JSON, and how many they are."""

    id: int
    received_at: datetime
    source: str
    payload: str
    item_count: int


def put_off(connection: Connection, items: object, indexes: Collection[int], source: str, now: datetime) -> int:
    """Store the items of a list that have these indexes, to be taken in later; returns how many they are."""
    waiting = [items[index] for index in sorted(indexes)] if isinstance(items, list) else []
    connection.execute(insert(PUT_OFF).values(received_at=now, source=source, **_values(waiting)))
    return len(waiting)


def next_put_off(connection: Connection, after: int) -> PutOffRow | None:
    """The first row after an id, without a lock."""
    row = connection.execute(select(PUT_OFF).where(PUT_OFF.c.id > after).order_by(PUT_OFF.c.id).limit(1)).first()
    return None if row is None else PutOffRow(*row)


def lock_put_off(connection: Connection, row: PutOffRow) -> bool:
    """Lock a row; False if somebody else holds it, or it was changed since it was read."""
    unchanged = select(PUT_OFF.c.id).where(PUT_OFF.c.id == row.id, PUT_OFF.c.item_count == row.item_count)
    return connection.execute(unchanged.with_for_update(skip_locked=True)).first() is not None


def leave_put_off(connection: Connection, row_id: int, items: Sequence[object]) -> None:
    """Leave these items in a locked row; without any it is deleted."""
    its = PUT_OFF.c.id == row_id
    connection.execute(update(PUT_OFF).where(its).values(_values(items)) if items else delete(PUT_OFF).where(its))


def _values(items: Sequence[object]) -> dict[str, object]:
    return {"payload": json.dumps(items, default=str), "item_count": len(items)}
