"""Orders and their events, between rows and values."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Update, func, select, update

from worker.adapters.database.bulk import RowUpdate, Value, ids_of, insert_rows, one_of
from worker.adapters.database.engine import RaceLost
from worker.adapters.database.models import OrderEventRow, RechargeOrder, table_of
from worker.domain.identity import OrderKey
from worker.domain.orders import Change, Order, OrderEvent

ORDERS = table_of(RechargeOrder)
EVENTS = table_of(OrderEventRow)

_FIELDS = tuple(field.name for field in fields(Order))
_EVENT_FIELDS = tuple(field.name for field in fields(OrderEvent))
ORDER_COLUMNS = [ORDERS.c[name] for name in _FIELDS]

_SAVED = (*_FIELDS[1:], "id_kind", "look_group", "updated_at")


def _saving(value: Value) -> Update:
    """Only a row that stands as it was read is written."""
    as_read = (
        ORDERS.c.id == value("row_id"),
        ORDERS.c.state == value("row_state"),
        func.coalesce(ORDERS.c.lease_token, "") == value("row_token"),
    )
    return update(ORDERS).where(*as_read).values({name: value(name) for name in _SAVED})


_SAVE = RowUpdate(
    _saving,
    {
        "row_id": ORDERS.c.id.type,
        "row_state": ORDERS.c.state.type,
        "row_token": ORDERS.c.lease_token.type,
        **{name: ORDERS.c[name].type for name in _SAVED},
    },
)


def to_order(row: RowMapping) -> Order:
    """The order that a row of `ORDER_COLUMNS` holds."""
    return Order(**{name: row[name] for name in _FIELDS})


def to_values(order: Order, now: datetime) -> dict[str, Any]:
    """The columns of an order's row, the id aside."""
    values: dict[str, Any] = {name: getattr(order, name) for name in _FIELDS if name != "id"}
    return {**values, "id_kind": order.id_kind, "look_group": int(order.query_count > 0), "updated_at": now}


def lock_by_ids(connection: Connection, order_ids: Collection[int]) -> list[Order]:
    """Lock these rows in the order of their ids, so that no two transactions wait for each other, and read them."""
    if not order_ids:
        return []
    chosen = one_of(connection, ORDERS.c.id, order_ids)
    statement = select(*ORDER_COLUMNS).where(chosen).order_by(ORDERS.c.id).with_for_update()
    return [to_order(row) for row in connection.execute(statement).mappings()]


def find_ids(connection: Connection, keys: Iterable[OrderKey]) -> set[int]:
    """The ids of the rows that hold either id of any of these keys. A handful of statements, however many keys."""
    found: set[int] = set()
    for account, column, ids in by_account_and_column(keys):
        found.update(connection.scalars(ids_of(connection, ORDERS, column, ids, account=account, most=1)))
    return found


def lock_by_keys(connection: Connection, keys: Sequence[OrderKey]) -> list[Order]:
    """Lock and read the rows that hold either id of any of these keys."""
    return lock_by_ids(connection, find_ids(connection, keys))


def save_changes(connection: Connection, changes: Iterable[Change], now: datetime) -> None:
    """Write changed orders and append their events. The rows are to be locked.

    Raises RaceLost where a row does not stand as it was read.
    """
    listed = list(changes)
    changed = [change for change in listed if change.after != change.before]
    if changed:
        rows = [
            {
                "row_id": change.before.id,
                "row_state": change.before.state,
                "row_token": change.before.lease_token or "",
                **to_values(change.after, now),
            }
            for change in changed
        ]
        written = _SAVE.execute(connection, rows)
        if written not in (-1, len(rows)):
            raise RaceLost(f"{len(rows) - written} of {len(rows)} orders were changed meanwhile")
    add_events(connection, (event for change in listed for event in change.events))


def add_events(connection: Connection, events: Iterable[OrderEvent]) -> None:
    """Append events."""
    insert_rows(connection, EVENTS, [{name: getattr(event, name) for name in _EVENT_FIELDS} for event in events])


def by_account_and_column(keys: Iterable[OrderKey]) -> list[tuple[str, str, list[str]]]:
    """The ids of these keys, sorted by where to look for them: (account, column, ids)."""
    found: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        for column, value in (("request_id", key.request_id), ("custom_parm", key.custom_parm)):
            if value is not None:
                found.setdefault((key.account, column), []).append(value)
    return [(account, column, ids) for (account, column), ids in found.items()]
