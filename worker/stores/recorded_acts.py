"""What operators did."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from worker.database.bulk_statements import insert_rows
from worker.database.tables import ACTS
from worker.domain.records.coded_texts import to_columns
from worker.domain.records.operators import ActEntry


def add_acts(connection: Connection, entries: Iterable[ActEntry]) -> None:
    """Append the records of acts."""
    insert_rows(connection, ACTS, [_row(entry) for entry in entries])


def add_act(connection: Connection, entry: ActEntry) -> int:
    """Append the record of an act; returns its id."""
    key = connection.execute(insert(ACTS).values(_row(entry))).inserted_primary_key
    assert key is not None
    return int(key.id)


def set_detail(connection: Connection, act_id: int, detail: str) -> None:
    """Say what an act has done by now."""
    connection.execute(update(ACTS).where(ACTS.c.id == act_id).values(to_columns(detail)))


def read_orders_acted_on(connection: Connection, act_key: str, most: int | None = None) -> set[int]:
    """The row ids of the orders that an act has changed so far; with `most` those of its last rows, which have so many
    or, by less than a row's thousand, more: an act of a command may have millions."""
    its = ACTS.c.act_key == act_key
    if most is not None:
        its = and_(its, ACTS.c.id >= _first_of_last(connection, act_key, most))
    recorded = connection.scalars(select(ACTS.c.order_ids).where(its))
    return {int(order_id) for ids in recorded for order_id in (ids or "").split()}


def read_number_acted_on(connection: Connection, act_key: str) -> int:
    """How many orders an act has changed so far."""
    return int(connection.scalar(select(func.sum(ACTS.c.order_count)).where(ACTS.c.act_key == act_key)) or 0)


def _first_of_last(connection: Connection, act_key: str, most: int) -> int:
    """The id of the first of an act's last rows that have so many orders together."""
    counts = select(ACTS.c.id, ACTS.c.order_count).where(ACTS.c.act_key == act_key).order_by(ACTS.c.id.desc())
    first, total = 0, 0
    for row_id, count in connection.execute(counts.limit(most)):
        first, total = row_id, total + (count or 0)
        if total >= most:
            break
    return first


def _row(entry: ActEntry) -> dict[str, Any]:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)} | to_columns(entry.detail)
    orders = {"order_count": len(entry.order_ids) or None, "order_ids": " ".join(map(str, entry.order_ids)) or None}
    return values | orders
