"""Notifications, between rows and values: written with the change of their order, read by order."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from worker.database.bulk_statements import insert_rows, one_of
from worker.database.tables import GAVE_UP, NOTIFICATIONS, PENDING_STATE
from worker.domain.records.notifications import NewNotification, Notification, NotificationState, Rank

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


def lock_notifications_of(connection: Connection, order_ids: Collection[int]) -> list[Notification]:
    """Lock and read the notifications of these orders that are left, in the order of their ids."""
    chosen = select(*NOTIFICATION_COLUMNS).where(one_of(connection, NOTIFICATIONS.c.order_id, order_ids))
    rows = connection.execute(chosen.order_by(NOTIFICATIONS.c.id).with_for_update())
    return [to_notification(row) for row in rows]


def send_again(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Make notifications pending, whatever became of them, as if they had never been tried; after all results."""
    if ids:
        chosen = update(NOTIFICATIONS).where(one_of(connection, NOTIFICATIONS.c.id, ids))
        connection.execute(chosen.values(**_never_tried(now), state=NotificationState.PENDING, delivered_at=None))


def next_delayed(connection: Connection, account: str, after: int, most: int) -> Sequence[int]:
    """The ids of an account's next pending notifications that have failed, behind an id, without a lock."""
    delayed = _pending_of(account).where(NOTIFICATIONS.c.tries > 0, NOTIFICATIONS.c.id > after)
    return connection.scalars(delayed.order_by(NOTIFICATIONS.c.id).limit(most)).all()


def begin_again(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Make pending notifications due, as if they had never failed. A delivery that is under way goes on."""
    chosen = one_of(connection, NOTIFICATIONS.c.id, ids) & (NOTIFICATIONS.c.state == NotificationState.PENDING)
    if ids:
        connection.execute(update(NOTIFICATIONS).where(chosen).values(_never_tried(now)))


def next_unreceived(connection: Connection, account: str, most: int) -> Sequence[int]:
    """The ids of some notifications of an account that are pending or given up, without a lock."""
    pending = connection.scalars(_pending_of(account).limit(most)).all()
    given_up = select(NOTIFICATIONS.c.id).where(GAVE_UP, NOTIFICATIONS.c.account == account)
    return pending or connection.scalars(given_up.limit(most)).all()


def changed_at(connection: Connection, ids: Collection[int]) -> dict[int, datetime]:
    """When the orders changed that these notifications are about, by the notification."""
    chosen = select(NOTIFICATIONS.c.id, NOTIFICATIONS.c.changed_at).where(one_of(connection, NOTIFICATIONS.c.id, ids))
    return {row.id: row.changed_at for row in connection.execute(chosen)} if ids else {}


def delivered_before(connection: Connection, before: datetime, most: int) -> Sequence[int]:
    """The ids of notifications that were delivered before a time, the oldest first, without a lock."""
    old = select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.delivered_at < before)
    return connection.scalars(old.order_by(NOTIFICATIONS.c.delivered_at).limit(most)).all()


def delete_notifications(connection: Connection, ids: Collection[int], *, delivered_only: bool = False) -> int:
    """Delete notifications; returns how many were there. `delivered_only`: not those that were resent meanwhile."""
    if not ids:
        return 0
    chosen = delete(NOTIFICATIONS).where(one_of(connection, NOTIFICATIONS.c.id, ids))
    if delivered_only:
        chosen = chosen.where(NOTIFICATIONS.c.state == NotificationState.DELIVERED)
    return connection.execute(chosen).rowcount


def _never_tried(now: datetime) -> dict[str, Any]:
    return {"rank": int(Rank.BULK), "tries": 0, "refused_since": None, "due_at": now}


def _pending_of(account: str) -> Select[Any]:
    # Written out, not a parameter: see `tables.PENDING_STATE`.
    return select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.account == account, NOTIFICATIONS.c.state == PENDING_STATE)


def _new_row(one: NewNotification, now: datetime) -> dict[str, Any]:
    # A plain number: not every driver knows a member of an enumeration.
    values = {name: getattr(one, name) for name in _NEW} | {"rank": int(one.rank)}
    return {**values, "state": NotificationState.PENDING, "due_at": now, "tries": 0}
