"""Notifications as the command line shows and selects them. Nothing here writes or locks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from worker.database.tables import GAVE_UP, NOT_PENDING
from worker.domain.records.notifications import Notification, NotificationState
from worker.domain.records.overview import NotificationCounts
from worker.stores.archived_orders import ARCHIVED
from worker.stores.newest_first import SECONDS, Key, Walk, read_page
from worker.stores.notification_rows import NOTIFICATION_COLUMNS, NOTIFICATIONS, to_notification
from worker.stores.recharge_orders import ORDERS, PENDING

_ROWS_AT_ONCE = 500


def recent_notifications(
    connection: Connection,
    *,
    account: str | None,
    state: NotificationState | None,
    after: int | None,
    most: int,
    seconds: float = SECONDS,
) -> tuple[list[Notification], int | None]:
    """The newest notifications that match, newest first, from before the row `after`.

    And the row up to which was searched, where time ran out before so many were found.
    """
    if state is NotificationState.GAVE_UP:
        # By its own index: few are given up, and many are delivered.
        of_account = [] if account is None else [NOTIFICATIONS.c.account == account]
        chosen = select(NOTIFICATIONS.c.id).where(GAVE_UP, *of_account).order_by(NOTIFICATIONS.c.id.desc()).limit(most)
        further = chosen if after is None else chosen.where(NOTIFICATIONS.c.id < after)
        return _whole(connection, list(connection.scalars(further))), None

    def is_so(columns: Any) -> list[ColumnElement[bool]]:
        wanted = [] if state is None else [columns.state == state]
        return wanted if account is None else [*wanted, columns.account == account]

    columns = [NOTIFICATIONS.c.state, NOTIFICATIONS.c.account]
    walk = Walk(table=NOTIFICATIONS, index=None, key=[NOTIFICATIONS.c.id], columns=columns)
    last: Key | None = None if after is None else (after,)
    page = read_page(connection, walk, is_so, after=last, most=most, seconds=seconds)
    found = _whole(connection, [key[0] for key in page.keys])
    return found, None if page.stopped_at is None else page.stopped_at[0]


def count_notifications(connection: Connection) -> dict[str, NotificationCounts]:
    """How many notifications of each account are pending or given up, and since when the oldest one waits."""
    oldest = func.min(NOTIFICATIONS.c.changed_at)
    pending = select(NOTIFICATIONS.c.account, func.count(), oldest).where(NOTIFICATIONS.c.state == PENDING)
    given_up = select(NOTIFICATIONS.c.account, func.count()).where(GAVE_UP)
    found: dict[str, NotificationCounts] = {}
    for account, count, since in connection.execute(pending.group_by(NOTIFICATIONS.c.account)):
        found[account] = NotificationCounts(pending=count, oldest_changed_at=since)
    for account, count in connection.execute(given_up.group_by(NOTIFICATIONS.c.account)):
        known = found.get(account, NotificationCounts())
        found[account] = NotificationCounts(
            pending=known.pending, oldest_changed_at=known.oldest_changed_at, gave_up=count
        )
    return found


def orders_given_up(connection: Connection, account: str | None) -> list[int]:
    """The ids of the orders that have a notification which was given up."""
    of_account = [] if account is None else [NOTIFICATIONS.c.account == account]
    return sorted(set(connection.scalars(select(NOTIFICATIONS.c.order_id).where(GAVE_UP, *of_account))))


def orders_changed_since(connection: Connection, since: datetime, account: str | None) -> list[int]:
    """The ids of the orders that changed at this time or later: those that have a notification from then on, and those
    whose notification may be gone, archived ones too."""
    chosen = [
        select(NOTIFICATIONS.c.order_id, NOTIFICATIONS.c.account).where(NOTIFICATIONS.c.changed_at >= since),
        select(ORDERS.c.id, ORDERS.c.account).where(NOT_PENDING, ORDERS.c.updated_at >= since),
        select(ARCHIVED.c.id, ARCHIVED.c.account).where(ARCHIVED.c.settled_at >= since),
    ]
    found = (row for statement in chosen for row in connection.execute(statement))
    return sorted({order_id for order_id, of in found if account in (None, of)})


def _whole(connection: Connection, ids: Sequence[int]) -> list[Notification]:
    found: list[Row[Any]] = []
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        chosen = select(*NOTIFICATION_COLUMNS).where(NOTIFICATIONS.c.id.in_(ids[start : start + _ROWS_AT_ONCE]))
        found += connection.execute(chosen.order_by(NOTIFICATIONS.c.id.desc())).all()
    return [to_notification(row) for row in found]
