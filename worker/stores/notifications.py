"""Notifications, between rows and values: written with the change of their order, read by order."""

from collections.abc import Collection, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from worker.database.bulk_statements import insert_rows, one_of
from worker.database.tables import NotificationRow, table_of
from worker.domain.records.notifications import NewNotification, Notification, NotificationState, Rank

NOTIFICATIONS = table_of(NotificationRow)
_NEW = tuple(field.name for field in fields(NewNotification))
_FIELDS = tuple(field.name for field in fields(Notification))
NOTIFICATION_COLUMNS = [NOTIFICATIONS.c[name] for name in _FIELDS]


def add_notifications(connection: Connection, added: Iterable[NewNotification], now: datetime) -> None:
    """Insert notifications, which are due at once."""
    insert_rows(connection, NOTIFICATIONS, [_new_row(one, now) for one in added])


def to_notification(row: Any) -> Notification:
    """The notification that a row of `NOTIFICATION_COLUMNS` holds."""
    values = dict(zip(_FIELDS, row, strict=True))
    return Notification(**{**values, "rank": Rank(values["rank"])})


def notifications_of(connection: Connection, order_ids: Collection[int]) -> list[Notification]:
    """The notifications of these orders that are left, oldest first."""
    chosen = select(*NOTIFICATION_COLUMNS).where(one_of(connection, NOTIFICATIONS.c.order_id, order_ids))
    return [to_notification(row) for row in connection.execute(chosen.order_by(NOTIFICATIONS.c.id))]


def _new_row(one: NewNotification, now: datetime) -> dict[str, Any]:
    # A plain number: not every driver knows a member of an enumeration.
    values = {name: getattr(one, name) for name in _NEW} | {"rank": int(one.rank)}
    return {**values, "state": NotificationState.PENDING, "due_at": now, "tries": 0}
