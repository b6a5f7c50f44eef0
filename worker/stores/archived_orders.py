"""The archive: settled orders, moved out of `recharge_orders` with their events, and restored when somebody names them.

An order is in exactly one of the two tables, and moves from one to the other in one transaction that holds its row
locked. So a search for orders
- reads both tables in one statement (`recharge_orders.find_ids`), whose snapshot shows an order in one of them;
- locks what was found, and restores from the archive what is gone by then; where some are still missing, the
  transaction is repeated (`recharge_orders.lock_by_keys`). What was in neither table is new: two transactions that
  insert it conflict at its unique index, and no order is moved on its first day
  (`worker.operations.archive_and_purge`).
On PostgreSQL new orders are inserted first and searched afterwards: the unique index makes the insertion wait for a
transaction that moves an order with one of these ids, and the search that follows (`knows_any`), for the ids that were
inserted, has a snapshot of its own, which shows what that transaction has committed. Where the archive holds one, the
insertion is rolled back before another lock is waited for, so that no deadlock can arise, and the whole list is
searched before it is inserted. All this needs READ COMMITTED; SQLite has one writer.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Enum, RowMapping, Select, Table, delete, func, select

from worker.database.bulk_statements import found_by, ids_of, insert_rows, one_of
from worker.database.column_types import Amount, StatusNumber, UtcDateTime
from worker.database.tables import ARCHIVED, EVENTS, NO_COUNT, NOT_PENDING, ORDERS
from worker.database.transactions import RaceLost
from worker.domain.records.orders import OrderState, TrafficStatus

_OLD_NAMES = {"age_bucket": "look_group", "batch_failures": "bad_ends"}
"""Column to the name that it had before revision 0007: records keep the names that they were written with."""
_MOST_EVENTS = 1000
"""A record holds the first so many events of its order, or a text could not hold it; the others stay in
`order_events`, under the id that the order keeps."""
Row = dict[str, Any]
Position = tuple[datetime, int]
"""The time by which a row is old, and its id: where it stands in the index."""
IdsByColumn = Sequence[tuple[str, str, list[str]]]
"""Ids by account and column: (account, column, ids)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchivedRecord:
    """An order in the archive."""

    order: Row
    """Column name to value, as `recharge_orders` had it."""
    events: list[Row]
    """Its first rows of `order_events`, oldest first; those that it has besides are still in that table."""
    archived_at: datetime


def find_settled(
    connection: Connection, before: datetime, states: Sequence[OrderState], after: Position | None, most: int
) -> list[Position]:
    """Orders in these states that have not changed since `before` and need no attention, without a lock.

    At most `most`, in the order of the index, behind `after`.
    """
    key = (ORDERS.c.updated_at, ORDERS.c.id)
    statement = next_rows(select(*key).where(*_settled(connection, before, states)), key, after, most)
    return [(time, order_id) for time, order_id in connection.execute(statement)]


def lock_settled(
    connection: Connection, found: Sequence[Position], before: datetime, states: Sequence[OrderState]
) -> Sequence[RowMapping]:
    """Lock and read those found orders that still fulfil the same conditions; locked ones are left out."""
    chosen = one_of(connection, ORDERS.c.id, [order_id for _, order_id in found])
    statement = select(ORDERS).where(chosen, *_settled(connection, before, states)).order_by(ORDERS.c.id)
    return connection.execute(statement.with_for_update(skip_locked=True)).mappings().all()


def first_archived(connection: Connection, most: int) -> Sequence[int]:
    """The ids of the first archived orders, without a lock."""
    return connection.scalars(select(ARCHIVED.c.id).order_by(ARCHIVED.c.id).limit(most)).all()


def restore(connection: Connection, order_ids: Collection[int], *, skip_locked: bool = False) -> int:
    """Restore these orders with all their events, as they were; returns how many of them were in the archive.

    With `skip_locked` those that somebody else holds locked stay there.

    Raises IntegrityError where `recharge_orders` holds one of their ids: a worker of a release without the archive has
    taken the order for new.
    """
    wanted = select(ARCHIVED).where(one_of(connection, ARCHIVED.c.id, order_ids)).order_by(ARCHIVED.c.id)
    records = [_read(row) for row in connection.execute(wanted.with_for_update(skip_locked=skip_locked)).mappings()]
    if records:
        insert_rows(connection, ORDERS, [record.order for record in records])
        insert_rows(connection, EVENTS, [event for record in records for event in record.events])
        _delete(connection, ARCHIVED, ARCHIVED.c.id, [record.order["id"] for record in records])
    return len(records)


def knows_any(connection: Connection, wanted: IdsByColumn) -> bool:
    """Whether an archived order has any of these ids.

    Mostly none has, and this is one read of many ids; where nothing is archived at all, a read of one row.
    """
    # From the end of the index: rows at its start are restored and deleted first, and dead rows are passed one by one.
    if connection.scalar(select(ARCHIVED.c.id).order_by(ARCHIVED.c.id.desc()).limit(1)) is None:
        return False
    reads = [ids_of(connection, ARCHIVED, column, ids, account=account, most=1) for account, column, ids in wanted]
    return bool(found_by(connection, reads))


def read_archived(connection: Connection, condition: ColumnElement[bool]) -> list[ArchivedRecord]:
    """The archived orders that fulfil a condition on the archive's columns, by id."""
    chosen = select(ARCHIVED).where(condition).order_by(ARCHIVED.c.id)
    return [_read(row) for row in connection.execute(chosen).mappings()]


def _settled(connection: Connection, before: datetime, states: Sequence[OrderState]) -> list[ColumnElement[bool]]:
    conditions: list[Any] = [
        # Worded as in the partial index; otherwise the index is not used.
        NOT_PENDING,
        ORDERS.c.updated_at < before,
        ORDERS.c.state.in_(states),
        ORDERS.c.attention.is_(None),
    ]
    if connection.dialect.name == "sqlite":
        # SQLite uses the highest id again when its row is gone. So the rows that hold the highest ids stay.
        newest_event = select(EVENTS.c.order_id).order_by(EVENTS.c.id.desc()).limit(1).scalar_subquery()
        conditions.append(ORDERS.c.id < select(func.max(ORDERS.c.id)).scalar_subquery())
        conditions.append(ORDERS.c.id != func.coalesce(newest_event, 0))
    return conditions


def next_rows(
    statement: Select[Any],
    key: tuple[ColumnElement[datetime], ColumnElement[int]],
    after: Position | None,
    most: int,
) -> Select[Any]:
    """At most `most` rows behind `after` in the order of an index: a row that stays is passed once, not by every
    batch."""
    if after is not None:
        time, row_id = after
        statement = statement.where(key[0] >= time, (key[0] > time) | (key[1] > row_id))
    return statement.order_by(*key).limit(most)


def move_locked(connection: Connection, locked: Sequence[RowMapping], now: datetime) -> int:
    """Move these locked rows with their first events; returns how many. Raises RaceLost where one has changed since."""
    ids = [order["id"] for order in locked]
    events, gone = _take_events(connection, ids)
    insert_rows(connection, ARCHIVED, [_archived(order, events[order["id"]], now) for order in locked])
    if gone != sum(map(len, events.values())) or _delete(connection, ORDERS, ORDERS.c.id, ids) != len(ids):
        raise RaceLost("orders that are being archived were changed meanwhile")
    return len(ids)


def _take_events(connection: Connection, order_ids: Sequence[int]) -> tuple[dict[int, list[Row]], int]:
    """Read and delete the first events of each of these orders; also returns how many were deleted."""
    events: dict[int, list[Row]] = {order_id: [] for order_id in order_ids}
    of_these = one_of(connection, EVENTS.c.order_id, order_ids)
    many = select(EVENTS.c.order_id).where(of_these).group_by(EVENTS.c.order_id).having(func.count() > _MOST_EVENTS)
    with_many = connection.scalars(many).all()
    with_few = sorted(events.keys() - set(with_many))
    listed = select(EVENTS).where(one_of(connection, EVENTS.c.order_id, with_few)).order_by(EVENTS.c.id)
    for event in connection.execute(listed).mappings():
        events[event["order_id"]].append(dict(event))
    gone = _delete(connection, EVENTS, EVENTS.c.order_id, with_few)
    for order_id in with_many:
        first = select(EVENTS).where(EVENTS.c.order_id == order_id).order_by(EVENTS.c.id).limit(_MOST_EVENTS)
        events[order_id] = [dict(event) for event in connection.execute(first).mappings()]
        until = EVENTS.c.id <= events[order_id][-1]["id"]
        gone += connection.execute(delete(EVENTS).where(EVENTS.c.order_id == order_id, until)).rowcount
    return events, gone


def _delete(connection: Connection, table: Table, column: ColumnElement[Any], values: Collection[int]) -> int:
    return connection.execute(delete(table).where(one_of(connection, column, values))).rowcount


def _archived(order: RowMapping, events: Iterable[Row], now: datetime) -> Row:
    copied = ("id", "account", "request_id", "custom_parm", "mobile", "state", "submitted_at", "settled_at")
    record = {"order": dict(order), "events": list(events)}
    return {
        **{name: order[name] for name in copied},
        "archived_at": now,
        "record": json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_as_text),
    }


def _read(row: RowMapping) -> ArchivedRecord:
    record = json.loads(row["record"])
    return ArchivedRecord(
        order=_values(ORDERS, record["order"]),
        events=[_values(EVENTS, event) for event in record["events"]],
        archived_at=row["archived_at"],
    )


def _values(table: Table, recorded: Mapping[str, Any]) -> Row:
    """A row with the table's present columns. A column that the record lacks has its default."""
    return {column.name: _value(column, recorded) for column in table.c}


def _default(column: Column[Any]) -> Any:
    # Only counts and what is true or false have one.
    return None if column.server_default is None else column.type.python_type(int(NO_COUNT))


def _value(column: Column[Any], recorded: Mapping[str, Any]) -> Any:
    name = next((name for name in (column.name, _OLD_NAMES.get(column.name)) if name in recorded), None)
    if name is None:
        return _default(column)
    value = recorded[name]
    if value is None:
        return None
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat(value)
    if isinstance(column.type, Amount):
        return Decimal(value)
    if isinstance(column.type, StatusNumber):
        return TrafficStatus(value)
    if isinstance(column.type, Enum) and column.type.enum_class is not None:
        return column.type.enum_class(value)
    return value


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} cannot be archived")
