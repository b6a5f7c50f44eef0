"""Old rows that nothing refers to any more, found by an index and deleted a batch at a time.

An archived order goes with its history. A query goes only when no order, archived or not, has one of the ids that it
polled, and no event names it: an order's history shows the queries that polled it, and those whose answer spoke of it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, case, delete, false, func, select, union_all
from sqlalchemy import true as always

from worker.database.bulk_statements import one_of
from worker.database.tables import ARCHIVED, EVENTS, NOTIFICATIONS, ORDERS, QUERIES, REJECTED, UNMATCHED
from worker.domain.records.orders import IdKind, OrderState
from worker.stores.archived_orders import Position, next_rows, read_archived

NamedId = tuple[str, str]
"""An order's id, as its column and its value."""

RECEIVED = {table.name: table for table in (REJECTED, UNMATCHED)}
"""The tables of what could not be placed, by name."""

_IDS_AT_ONCE = 400
_DELETED_STATES = (OrderState.SUCCEEDED, OrderState.FAILED, OrderState.CANCELLED)
_COLUMN_OF = {IdKind.REQUEST_ID: "request_id", IdKind.CUSTOM_PARM: "custom_parm"}


@dataclass(frozen=True, kw_only=True, slots=True)
class OldQuery:
    """A query that may go, with the ids that its orders have."""

    id: int
    ids: frozenset[NamedId]


def old_archived(
    connection: Connection, before: datetime, after: Position | None, most: int
) -> list[tuple[Position, bool]]:
    """The next archived orders that were submitted before a time, by that time, and whether each may go."""
    key = (ARCHIVED.c.submitted_at, ARCHIVED.c.id)
    may_go = case((_is_old(before), always()), else_=false())
    rows = connection.execute(next_rows(select(*key, may_go).where(key[0] < before), key, after, most))
    return [((time, order_id), bool(is_old)) for time, order_id, is_old in rows]


def old_received(
    connection: Connection, table: Table, before: datetime, after: Position | None, most: int
) -> list[Position]:
    """The next rows of refused input, or of unmatched callbacks, that were received before a time."""
    return _older(connection, (table.c.received_at, table.c.id), before, after, most)


def old_orders(
    connection: Connection, before: datetime, after: Position | None, most: int
) -> list[tuple[Position, bool]]:
    """The next orders that were submitted before a time, by that time, and whether each may be deleted."""
    key = (ORDERS.c.submitted_at, ORDERS.c.id)
    may_go = case((_may_be_deleted(connection, before), always()), else_=false())
    rows = connection.execute(next_rows(select(*key, may_go).where(key[0] < before), key, after, most))
    return [((time, order_id), bool(is_old)) for time, order_id, is_old in rows]


def old_live(connection: Connection, before: datetime, after: Position | None, most: int) -> list[Position]:
    """The next orders outside the archive that were submitted before a time."""
    return _older(connection, (ORDERS.c.submitted_at, ORDERS.c.id), before, after, most)


def old_queries(connection: Connection, before: datetime, after: int, most: int) -> list[OldQuery]:
    """The next queries by id, up to the first that was sent later.

    The newest query always stays: SQLite would give its id once more.
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


def queries_named_by(connection: Connection, live: Sequence[int], archived: Sequence[int]) -> set[int]:
    """The queries that the events of these orders name; the orders outside the archive, and those in it."""
    # Of an archived order with very many events the later ones are still in the table.
    orders = [*live, *archived]
    of_events = select(EVENTS.c.query_id).where(one_of(connection, EVENTS.c.order_id, orders)).distinct()
    named = set(connection.scalars(of_events)) if orders else set()
    for record in read_archived(connection, one_of(connection, ARCHIVED.c.id, archived)) if archived else ():
        named.update(event["query_id"] for event in record.events)
    return named - {None}


def ids_in_use(
    connection: Connection, ids: Iterable[NamedId], *, but_archived_before: datetime | None = None
) -> set[NamedId]:
    """Which of these ids an order has, of any account; without the archived orders that are old, where that is asked.

    One statement reads both tables, so that an order that is being moved is seen in one of them.
    """
    by_column: dict[str, list[str]] = {}
    for column, name in ids:
        by_column.setdefault(column, []).append(name)
    kept = [] if but_archived_before is None else [case((_is_old(but_archived_before), false()), else_=always())]
    found: set[NamedId] = set()
    for column, names in by_column.items():
        for start in range(0, len(names), _IDS_AT_ONCE):
            part = names[start : start + _IDS_AT_ONCE]
            live = select(ORDERS.c[column]).where(one_of(connection, ORDERS.c[column], part))
            archived = select(ARCHIVED.c[column]).where(one_of(connection, ARCHIVED.c[column], part), *kept)
            found.update((column, name) for name in connection.scalars(union_all(live, archived)))
    return found


def delete_archived(connection: Connection, ids: Sequence[int], before: datetime) -> int:
    """Delete archived orders that are still old, with the events that stayed in their table; those that somebody else
    holds, to restore them, stay."""
    chosen = select(ARCHIVED.c.id).where(one_of(connection, ARCHIVED.c.id, ids), _is_old(before))
    free = connection.scalars(chosen.order_by(ARCHIVED.c.id).with_for_update(skip_locked=True)).all()
    if free:
        connection.execute(delete(EVENTS).where(one_of(connection, EVENTS.c.order_id, free)))
    return _delete(connection, ARCHIVED, free)


def delete_orders(connection: Connection, ids: Sequence[int], before: datetime) -> int:
    """Delete these orders with their events and notifications; those that somebody else holds, or that may not be
    deleted any more, stay."""
    chosen = select(ORDERS.c.id).where(one_of(connection, ORDERS.c.id, ids), _may_be_deleted(connection, before))
    free = connection.scalars(chosen.order_by(ORDERS.c.id).with_for_update(skip_locked=True)).all()
    for table in (EVENTS, NOTIFICATIONS) if free else ():
        connection.execute(delete(table).where(one_of(connection, table.c.order_id, free)))
    return _delete(connection, ORDERS, free)


def delete_received(connection: Connection, table: Table, ids: Sequence[int]) -> int:
    """Delete rows of refused input, or unmatched callbacks, that no other transaction holds."""
    chosen = select(table.c.id).where(one_of(connection, table.c.id, ids)).order_by(table.c.id)
    return _delete(connection, table, connection.scalars(chosen.with_for_update(skip_locked=True)).all())


def delete_queries(connection: Connection, ids: Sequence[int]) -> int:
    """Delete queries."""
    return _delete(connection, QUERIES, ids)


def _is_old(before: datetime) -> ColumnElement[bool]:
    """Whether an archived order was submitted and settled before a time. One that never settled counts from when it was
    archived: nothing had happened to it for a while then."""
    ended = func.coalesce(ARCHIVED.c.settled_at, ARCHIVED.c.archived_at)
    return and_(ARCHIVED.c.submitted_at < before, ended < before)


def _may_be_deleted(connection: Connection, before: datetime) -> ColumnElement[bool]:
    """Whether an order was submitted and settled before a time, and asks nobody for anything. A cancelled order was
    changed last before the time instead."""
    conditions = [
        ORDERS.c.state.in_(_DELETED_STATES),
        ORDERS.c.attention.is_(None),
        ORDERS.c.submitted_at < before,
        func.coalesce(ORDERS.c.settled_at, ORDERS.c.updated_at) < before,
    ]
    if connection.dialect.name == "sqlite":
        # SQLite gives the highest id of a table again once its row is gone. So the rows that hold these ids stay.
        newest_event = select(EVENTS.c.order_id).order_by(EVENTS.c.id.desc()).limit(1).scalar_subquery()
        conditions.append(ORDERS.c.id < select(func.max(ORDERS.c.id)).scalar_subquery())
        conditions.append(ORDERS.c.id != func.coalesce(newest_event, 0))
    return and_(*conditions)


def _older(
    connection: Connection, key: tuple[Any, Any], before: datetime, after: Position | None, most: int
) -> list[Position]:
    statement = next_rows(select(*key).where(key[0] < before), key, after, most)
    return [(time, row_id) for time, row_id in connection.execute(statement)]


def _delete(connection: Connection, table: Table, ids: Collection[int]) -> int:
    return connection.execute(delete(table).where(one_of(connection, table.c.id, ids))).rowcount if ids else 0
