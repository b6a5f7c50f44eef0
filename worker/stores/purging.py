"""Find old rows that nothing refers to any more, and delete them in batches. An index finds the rows.

An order is deleted with its history. A query is deleted only if no order has an id that the query polled, because the
history of an order shows all queries that polled the order.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, func, select, update

from worker.database.bulk_statements import one_of
from worker.database.tables import DEPLOYMENT, EVENTS, NOTIFICATIONS, ORDERS, QUERIES, REJECTED, UNMATCHED
from worker.domain.records.notifications import NotificationState
from worker.domain.records.orders import IdKind, OrderState

Position = tuple[datetime, int]
"""A row's position in the index: the time that decides whether the row is old, and the row's id."""
NamedId = tuple[str, str]
"""One id of an order: the column (`request_id` or `custom_parm`) and the value."""

RECEIVED = {table.name: table for table in (REJECTED, UNMATCHED)}
"""The tables of refused input and of unmatched callbacks, by name."""

_IDS_AT_ONCE = 400
_ONLY_COPIES = "revision 0033"
_DELETED_STATES = (OrderState.SUCCEEDED, OrderState.FAILED, OrderState.CANCELLED)
_COLUMN_OF = {IdKind.REQUEST_ID: "request_id", IdKind.CUSTOM_PARM: "custom_parm"}


@dataclass(frozen=True, kw_only=True, slots=True)
class OldQuery:
    """A query that may be deleted if no order has one of the ids that the query polled (`ids`)."""

    id: int
    ids: frozenset[NamedId]


def old_received(
    connection: Connection, table: Table, before: datetime, after: Position | None, most: int
) -> list[Position]:
    """Return the positions of the next `most` rows of `table` after `after` that were received before `before`. Leave
    out rows of refused input that the migration 0033 wrote: each is the only copy of an order."""
    key = (table.c.received_at, table.c.id)
    old = select(*key).where(key[0] < before, *([table.c.source != _ONLY_COPIES] if table is REJECTED else []))
    return [(time, row_id) for time, row_id in connection.execute(_next_rows(old, key, after, most))]


def old_orders(connection: Connection, before: datetime, after: Position | None, most: int) -> list[Position]:
    """Return the positions of the next `most` orders after `after` that were submitted before `before`, in the sequence
    of their submission."""
    key = (ORDERS.c.submitted_at, ORDERS.c.id)
    rows = connection.execute(_next_rows(select(*key).where(key[0] < before), key, after, most))
    return [(time, order_id) for time, order_id in rows]


def deletable_orders(connection: Connection, ids: Sequence[int], before: datetime) -> Sequence[int]:
    """Return the ids of the orders among these that may be deleted. Lock nothing."""
    chosen = one_of(connection, ORDERS.c.id, ids) & _may_be_deleted(connection, before)
    return connection.scalars(select(ORDERS.c.id).where(chosen)).all()


def old_queries(connection: Connection, before: datetime, after: int, most: int) -> list[OldQuery]:
    """Return the next `most` queries whose id is above `after`, in the order of their ids. Stop before the first query
    that was sent at `before` or later.

    The newest query is never returned: if it were deleted, SQLite would give its id to the next query.
    """
    columns = [QUERIES.c[name] for name in ("id", "sent_at", "id_kind", "polled_ids")]
    newest = select(func.max(QUERIES.c.id)).scalar_subquery()
    page = select(*columns).where(QUERIES.c.id > after, QUERIES.c.id < newest).order_by(QUERIES.c.id).limit(most)
    found: list[OldQuery] = []
    for query_id, sent_at, id_kind, polled_ids in connection.execute(page):
        if sent_at >= before:
            break
        found.append(
            OldQuery(id=query_id, ids=frozenset((_COLUMN_OF[id_kind], name) for name in polled_ids.split(",")))
        )
    return found


def ids_in_use(connection: Connection, ids: Iterable[NamedId]) -> set[NamedId]:
    """Return the ids among these that an order has, in any account."""
    by_column: dict[str, list[str]] = {}
    for column, name in ids:
        by_column.setdefault(column, []).append(name)
    found: set[NamedId] = set()
    for column, names in by_column.items():
        for start in range(0, len(names), _IDS_AT_ONCE):
            part = one_of(connection, ORDERS.c[column], names[start : start + _IDS_AT_ONCE])
            found.update((column, name) for name in connection.scalars(select(ORDERS.c[column]).where(part)))
    return found


def delete_orders(connection: Connection, ids: Sequence[int], before: datetime) -> int:
    """Delete these orders with their events and notifications, and return how many. An order stays if another
    transaction has locked it, or if it may no longer be deleted."""
    chosen = select(ORDERS.c.id).where(one_of(connection, ORDERS.c.id, ids)).order_by(ORDERS.c.id)
    locked = connection.scalars(chosen.with_for_update(skip_locked=True)).all()
    # A second statement checks the locked orders again. The statement that locked them does not see what a resend has
    # done to their notifications since that statement began.
    free = deletable_orders(connection, locked, before)
    for table in (EVENTS, NOTIFICATIONS) if free else ():
        connection.execute(delete(table).where(one_of(connection, table.c.order_id, free)))
    return _delete(connection, ORDERS, free)


def note_deleted(connection: Connection, before: datetime) -> None:
    """Record that orders from before `before` were deleted, unless a later time is recorded already."""
    known = DEPLOYMENT.c.orders_deleted_before
    is_later = known.is_(None) | (known < before)
    connection.execute(update(DEPLOYMENT).where(is_later).values(orders_deleted_before=before))


def delete_received(connection: Connection, table: Table, ids: Sequence[int]) -> int:
    """Delete rows of refused input, or unmatched callbacks, unless another transaction has locked them."""
    chosen = select(table.c.id).where(one_of(connection, table.c.id, ids)).order_by(table.c.id)
    return _delete(connection, table, connection.scalars(chosen.with_for_update(skip_locked=True)).all())


def delete_queries(connection: Connection, ids: Sequence[int]) -> int:
    """Delete queries."""
    return _delete(connection, QUERIES, ids)


def _may_be_deleted(connection: Connection, before: datetime) -> ColumnElement[bool]:
    """Whether an order may be deleted: it is final or cancelled, and was submitted, settled and last changed before a
    time. It must have no attention, no requested check and no lease that still runs, and all its notifications must be
    delivered."""
    # A count is used and not an EXISTS: PostgreSQL computes the count for one order at a time. For an EXISTS, it may
    # read all notifications.
    is_undelivered = (NOTIFICATIONS.c.order_id == ORDERS.c.id, NOTIFICATIONS.c.state != NotificationState.DELIVERED)
    undelivered = select(func.count()).where(*is_undelivered).correlate(ORDERS).scalar_subquery()
    conditions = [
        ORDERS.c.state.in_(_DELETED_STATES),
        ORDERS.c.attention.is_(None),
        ORDERS.c.check_requested_at.is_(None),
        ORDERS.c.lease_token.is_(None) | (ORDERS.c.due_at < before),
        ORDERS.c.submitted_at < before,
        ORDERS.c.updated_at < before,
        ORDERS.c.settled_at.is_(None) | (ORDERS.c.settled_at < before),
        undelivered == 0,
    ]
    if connection.dialect.name == "sqlite":
        # SQLite reuses the highest id of a table once the row with that id is deleted. So the newest order stays, and
        # so does the order of the newest event.
        newest = select(func.max(EVENTS.c.id)).scalar_subquery()
        newest_event = select(EVENTS.c.order_id).where(EVENTS.c.id == newest).scalar_subquery()
        conditions.append(ORDERS.c.id < select(func.max(ORDERS.c.id)).scalar_subquery())
        conditions.append(ORDERS.c.id != func.coalesce(newest_event, 0))
    return and_(*conditions)


def _next_rows(
    statement: Select[Any],
    key: tuple[ColumnElement[datetime], ColumnElement[int]],
    after: Position | None,
    most: int,
) -> Select[Any]:
    """Limit a statement to the `most` rows that follow the position `after` in an index. So a row that must stay is
    read by one batch, and not again by every later batch."""
    if after is not None:
        time, row_id = after
        statement = statement.where(key[0] >= time, (key[0] > time) | (key[1] > row_id))
    return statement.order_by(*key).limit(most)


def _delete(connection: Connection, table: Table, ids: Collection[int]) -> int:
    return connection.execute(delete(table).where(one_of(connection, table.c.id, ids))).rowcount if ids else 0
