"""Endpoints and notifications in the database of a test."""

import json
from dataclasses import dataclass
from typing import Any

from tests.support.reconciling import Workbench
from worker.database.tables import NotificationRow, NotifyEndpointRow, table_of
from worker.domain.records.notifications import Endpoint, Notification, TransportKind
from worker.stores.notifications import NOTIFICATION_COLUMNS, to_notification
from worker.stores.notify_endpoints import add_endpoint

NOTIFICATIONS = table_of(NotificationRow)
ENDPOINTS = table_of(NotifyEndpointRow)


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
