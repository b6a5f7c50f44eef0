"""Endpoints and notifications in the database of a test."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update

from tests.support.reconciling import Workbench
from worker.database.tables import NOTIFICATIONS
from worker.domain.records.notifications import (
    Endpoint,
    EventType,
    NewNotification,
    Notification,
    Rank,
    TransportKind,
)
from worker.operations.save_orders import new_event_id
from worker.stores.notifications import (
    NOTIFICATION_COLUMNS,
    add_endpoint,
    add_notifications,
    read_endpoints,
    to_notification,
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A notification, and what its text says."""

    row: Notification
    type: str
    data: dict[str, Any]


def put_endpoint(bench: Workbench, account: str = "default", **fields: Any) -> Endpoint:
    """Enter an endpoint, as a worker with such settings does."""
    plain = {"transport": TransportKind.WEBHOOK, "target_digest": "digest", "shown": "https://billing.example"}
    endpoint = Endpoint(account=account, **{**plain, **fields})
    with bench.database.write() as connection:
        add_endpoint(connection, endpoint, bench.database.now(connection))
    return endpoint


def told_of(bench: Workbench, name: str | None = None) -> list[Told]:
    """What is to be told, or was, oldest first: of all orders, or of one."""
    found = []
    for values in bench.rows(NOTIFICATIONS):
        row = to_notification([values[column.name] for column in NOTIFICATION_COLUMNS])
        body = json.loads(row.body)
        found.append(Told(row=row, type=body["type"], data=body["data"]))
    return [one for one in found if name is None or name in (one.data["request_id"], one.data["custom_parm"])]


def put_notifications(
    bench: Workbench, count: int, *, account: str = "default", rank: Rank = Rank.RESULT, **fields: Any
) -> list[Notification]:
    """Add pending notifications of orders that may not exist; returns all of the account."""
    body = '{"type": "order.succeeded", "data": {"mobile": "13800138000"}}'
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        new = [
            NewNotification(
                event_id=new_event_id(),
                account=account,
                order_id=number,
                type=EventType.SUCCEEDED,
                version=1,
                rank=rank,
                body=body,
                changed_at=now,
            )
            for number in range(1, count + 1)
        ]
        add_notifications(connection, new, now)
        if fields:
            events = [one.event_id for one in new]
            connection.execute(update(NOTIFICATIONS).where(NOTIFICATIONS.c.event_id.in_(events)).values(fields))
    return notifications(bench, account)


def notifications(bench: Workbench, account: str = "default") -> list[Notification]:
    """The notifications of an account, oldest first."""
    rows = [to_notification([row[column.name] for column in NOTIFICATION_COLUMNS]) for row in bench.rows(NOTIFICATIONS)]
    return [row for row in rows if row.account == account]


def endpoint(bench: Workbench, account: str = "default") -> Endpoint:
    """An account's endpoint as it is now."""
    with bench.database.read() as connection:
        return read_endpoints(connection, [account])[account]
