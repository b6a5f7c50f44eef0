"""What a scrape reads of the present state. Each count is a range of an index, and ends at `most` rows.

With `most` None all rows are counted: that is for a reading outside of a scrape.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from worker.database.bulk_statements import one_of
from worker.database.tables import GAVE_UP, NOTIFICATIONS, ORDERS, QUERIES, UNMATCHED
from worker.domain.records.metrics import LastQuery, PendingOrders
from worker.domain.records.orders import Attention
from worker.domain.records.overview import NotificationCounts
from worker.stores.notification_rows import changed_at
from worker.stores.recharge_orders import PENDING, UNRESOLVED

_MOST_UNCOUNTED = 10_000


def pending_orders(
    connection: Connection, accounts: Collection[str], now: datetime, most: int | None
) -> dict[str, PendingOrders]:
    """Pending and due orders of these accounts; those that have none are missing."""
    columns = (ORDERS.c.account, ORDERS.c.due_at)
    wanted = (one_of(connection, ORDERS.c.account, accounts), ORDERS.c.state == PENDING)
    some = select(*columns).where(*wanted).limit(most).subquery()
    is_due = some.c.due_at <= now
    counted = select(
        some.c.account,
        func.count(),
        func.count(case((is_due, 1))),
        # Of SQLite's own times, which are text: the type is given once more.
        func.min(case((is_due, some.c.due_at)), type_=ORDERS.c.due_at.type),
    ).group_by(some.c.account)
    return {
        row[0]: PendingOrders(pending=row[1], due=row[2], oldest_due_at=row[3]) for row in connection.execute(counted)
    }


def attention_orders(connection: Connection, most: int | None) -> dict[tuple[str, str], int]:
    """Orders that a person should look at, by account and reason."""
    # Every reason by name: a range of the index on databases without partial indexes, too.
    wanted = (ORDERS.c.attention.is_not(None), ORDERS.c.attention.in_(list(Attention)))
    some = select(ORDERS.c.account, ORDERS.c.attention).where(*wanted).limit(most).subquery()
    return {(row[0], row[1].value): row[2] for row in _counted(connection, some, some.c.account, some.c.attention)}


def unresolved_orders(connection: Connection, most: int | None) -> dict[str, int]:
    """Unresolved orders, by account."""
    some = select(ORDERS.c.account).where(ORDERS.c.state == UNRESOLVED).limit(most).subquery()
    return {row[0]: row[1] for row in _counted(connection, some, some.c.account)}


def unmatched_callbacks(connection: Connection, most: int | None) -> dict[str, int]:
    """Callbacks whose order is not known, by account."""
    some = select(UNMATCHED.c.account).order_by(UNMATCHED.c.received_at).limit(most).subquery()
    return {row[0]: row[1] for row in _counted(connection, some, some.c.account)}


def waiting_notifications(
    connection: Connection, accounts: Collection[str], most: int | None
) -> dict[str, NotificationCounts]:
    """What nobody has received, of these accounts; those that have nothing are missing."""
    ours = one_of(connection, NOTIFICATIONS.c.account, accounts)
    # Of an index alone, the id among its columns: the rows themselves would have to be read for the time.
    pending = _some_notifications(ours, NOTIFICATIONS.c.state == PENDING, most=most)
    first = func.min(pending.c.id)
    waiting = {row[0]: (row[1], row[2]) for row in _counted(connection, pending, pending.c.account, also=first)}
    given_up = _some_notifications(ours, GAVE_UP, most=most)
    gave_up = {row[0]: row[1] for row in _counted(connection, given_up, given_up.c.account)}
    times = changed_at(connection, [row_id for _, row_id in waiting.values()])
    return {
        name: NotificationCounts(
            pending=waiting.get(name, (0, 0))[0],
            oldest_changed_at=times.get(waiting.get(name, (0, 0))[1]),
            gave_up=gave_up.get(name, 0),
        )
        for name in waiting.keys() | gave_up.keys()
    }


def queries_since(connection: Connection, counted_id: int) -> dict[str, LastQuery]:
    """By account, the newest query behind this one, and the newest answered one; of the last 10,000 queries at most."""
    latest_id = connection.scalar(select(func.max(QUERIES.c.id))) or 0
    behind = QUERIES.c.id > max(counted_id, latest_id - _MOST_UNCOUNTED)
    answered = func.max(case((QUERIES.c.outcome == "answered", QUERIES.c.id)))
    found = select(QUERIES.c.account, func.max(QUERIES.c.id), answered).where(behind).group_by(QUERIES.c.account)
    newest = connection.execute(found).all()
    ids = sorted({row_id for row in newest for row_id in row[1:] if row_id is not None})
    if not ids:
        return {}
    columns = (QUERIES.c.id, QUERIES.c.sent_at, QUERIES.c.answered_at)
    rows = {row.id: row for row in connection.execute(select(*columns).where(one_of(connection, QUERIES.c.id, ids)))}
    return {
        account: LastQuery(
            sent_at=rows[last].sent_at if last in rows else None,
            answered_at=rows[answer].answered_at if answer in rows else None,
        )
        for account, last, answer in newest
    }


def _some_notifications(*wanted: Any, most: int | None) -> Any:
    return select(NOTIFICATIONS.c.account, NOTIFICATIONS.c.id).where(*wanted).limit(most).subquery()


def _counted(connection: Connection, rows: Any, *columns: Any, also: Any = None) -> Sequence[Any]:
    shown = (*columns, func.count(), *([] if also is None else [also]))
    statement: Select[Any] = select(*shown).select_from(rows).group_by(*columns)
    return connection.execute(statement).all()
