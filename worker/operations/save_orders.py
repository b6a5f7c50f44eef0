"""Save changes of orders. All changes are written here, each in one transaction with the notification of the change.
This module sends nothing.

The table `notify_endpoints`, and not the settings of this process, says who is notified. So every process that settles
an order writes the notification, even a command that runs without the worker's settings.
"""

import secrets
from collections.abc import Iterable
from datetime import datetime

from worker.database.transactions import Connection
from worker.domain.notifications.events import notification_of_change, visible_changes, wanted
from worker.domain.records.notifications import Rank
from worker.domain.records.order_changes import Change
from worker.stores.notifications import add_notifications, read_endpoints
from worker.stores.recharge_orders import save_changes


def save_orders(connection: Connection, changes: Iterable[Change], now: datetime, *, rank: Rank = Rank.RESULT) -> None:
    """Write changed orders with their events, and a notification for each change that a reader of the table can see.

    The rows must be locked. `now` must come from the database's clock. Raise RaceLost if a row has changed since it was
    read.
    """
    listed = list(changes)
    save_changes(connection, listed, now)
    visible = visible_changes(listed)
    if not visible:
        return
    endpoints = read_endpoints(connection, {change.after.account for change, _ in visible})
    told = [(change, event) for change, event in visible if wanted(endpoints.get(change.after.account), event)]
    add_notifications(
        connection,
        [notification_of_change(change, event, event_id=new_event_id(), now=now, rank=rank) for change, event in told],
        now,
    )


def new_event_id() -> str:
    """Return an id that no other notification has: `msg_` and 128 random bits."""
    return f"msg_{secrets.token_hex(16)}"
