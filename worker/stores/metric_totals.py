"""Read and write the totals of the metrics, and read the rows that are counted into these totals."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, insert, select, update

from worker.database.bulk_statements import one_of
from worker.database.tables import CURSORS, EVENTS, METADATA, ORDERS, QUERIES, REJECTED, TOTALS
from worker.domain.records.metrics import (
    Cursor,
    EventToCount,
    Labels,
    QueryToCount,
    RejectedToCount,
    Stream,
    TotalKey,
)
from worker.domain.records.order_changes import EventKind

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def read_cursors(connection: Connection) -> dict[Stream, Cursor]:
    """Return how far the rows of each stream were counted. Streams whose counting has not begun are left out."""
    rows = connection.execute(select(CURSORS.c.stream, CURSORS.c.counted_id, CURSORS.c.counted_at))
    return {
        Stream(row.stream): Cursor(counted_id=row.counted_id, counted_at=row.counted_at)
        for row in rows
        if row.stream in list(Stream)
    }


def begin(connection: Connection, stream: Stream, most: int) -> None:
    """Begin to count a stream, starting with the newest `most` rows of its table. Raise IntegrityError if another
    process has begun it already."""
    ids = METADATA.tables[stream].c.id
    before = connection.scalar(select(ids).order_by(ids.desc()).offset(most).limit(1))
    values = {"stream": stream.value, "counted_id": before or 0, "counted_at": _LONG_AGO}
    connection.execute(insert(CURSORS).values(values))


def lock_cursor(connection: Connection, stream: Stream) -> Cursor | None:
    """Lock and read the cursor of a stream that has begun. Return None if another process has locked the cursor,
    because it is counting."""
    chosen = select(CURSORS.c.counted_id, CURSORS.c.counted_at).where(CURSORS.c.stream == stream.value)
    row = connection.execute(chosen.with_for_update(skip_locked=True)).one_or_none()
    return None if row is None else Cursor(counted_id=row.counted_id, counted_at=row.counted_at)


def save_cursor(connection: Connection, stream: Stream, cursor: Cursor) -> None:
    """Write how far a stream was counted. The stream's cursor must be locked."""
    values = {"counted_id": cursor.counted_id, "counted_at": cursor.counted_at}
    connection.execute(update(CURSORS).where(CURSORS.c.stream == stream.value).values(values))


def next_queries(connection: Connection, cursor: Cursor, most: int) -> list[QueryToCount]:
    """Return the next queries after a cursor, in the order of their ids."""
    columns = [QUERIES.c[name] for name in ("id", "account", "outcome", "order_count", "answered_at", "status_msg")]
    page = _behind(select(*columns, QUERIES.c.sent_at.label("at")), QUERIES.c.id, cursor, most)
    return [QueryToCount(**row) for row in connection.execute(page).mappings()]


def next_events(connection: Connection, cursor: Cursor, most: int) -> list[EventToCount]:
    """Return the next events after a cursor, in the order of their ids.

    An event that settled an order has the account and the submission time of the order. Other events have None instead.
    """
    columns = [EVENTS.c[name] for name in ("id", "at", "kind", "source", "to_state", "order_id")]
    page = _behind(select(*columns), EVENTS.c.id, cursor, most).subquery()
    settled = and_(page.c.kind == EventKind.SETTLED, ORDERS.c.id == page.c.order_id)
    shown = [page.c[name] for name in ("id", "at", "source", "to_state")]
    # Subqueries are used and not a join: for a join, PostgreSQL would read the whole table of orders as long as that
    # table is small.
    of_order = (
        select(ORDERS.c[name]).where(settled).scalar_subquery().label(name) for name in ("account", "submitted_at")
    )
    events = select(*shown, *of_order).order_by(page.c.id)
    return [EventToCount(**row) for row in connection.execute(events).mappings()]


def next_rejected(connection: Connection, cursor: Cursor, most: int) -> list[RejectedToCount]:
    """Return the next rows of refused input after a cursor, in the order of their ids."""
    columns = (REJECTED.c.id, REJECTED.c.source, REJECTED.c.received_at.label("at"))
    page = _behind(select(*columns), REJECTED.c.id, cursor, most)
    return [RejectedToCount(**row) for row in connection.execute(page).mappings()]


def _behind(statement: Select[Any], key: Any, cursor: Cursor, most: int) -> Select[Any]:
    return statement.where(key > cursor.counted_id).order_by(key).limit(most)


def read_values(connection: Connection) -> dict[TotalKey, float]:
    """Return all totals."""
    rows = connection.execute(select(TOTALS.c.name, TOTALS.c.labels, TOTALS.c.value))
    return {(name, _labels(labels)): value for name, labels, value in rows}


def add_to_totals(connection: Connection, added: Mapping[TotalKey, float], replaced: Mapping[TotalKey, float]) -> None:
    """Add to the totals in `added`, and overwrite those in `replaced`. All of them belong to one stream, whose cursor
    must be locked."""
    known = _known(connection, [*added, *replaced])
    _write(connection, added, known, TOTALS.c.value + bindparam("new_value", type_=TOTALS.c.value.type))
    _write(connection, replaced, known, bindparam("new_value", type_=TOTALS.c.value.type))


def _known(connection: Connection, keys: Collection[TotalKey]) -> set[tuple[str, str]]:
    names, labels = {name for name, _ in keys}, sorted({_text(labels) for _, labels in keys})
    if not labels:
        return set()
    chosen = select(TOTALS.c.name, TOTALS.c.labels).where(
        TOTALS.c.name.in_(sorted(names)), one_of(connection, TOTALS.c.labels, labels)
    )
    return {(row.name, row.labels) for row in connection.execute(chosen)}


def _write(connection: Connection, values: Mapping[TotalKey, float], known: set[tuple[str, str]], value: Any) -> None:
    rows = [(name, _text(labels), number) for (name, labels), number in values.items()]
    old = [dict(zip(("of_name", "of_labels", "new_value"), row, strict=True)) for row in rows if row[:2] in known]
    new = [dict(zip(("name", "labels", "value"), row, strict=True)) for row in rows if row[:2] not in known]
    if old:
        is_it = and_(TOTALS.c.name == bindparam("of_name"), TOTALS.c.labels == bindparam("of_labels"))
        connection.execute(update(TOTALS).where(is_it).values(value=value), old)
    if new:
        connection.execute(insert(TOTALS), new)


def _text(labels: Labels) -> str:
    return json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"))


def _labels(text: str) -> Labels:
    return tuple(json.loads(text).items())
