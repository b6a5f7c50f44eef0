"""Orders that are settled and old, for tests of the archive."""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from tests.support.reconciling import Workbench
from worker.database.tables import ARCHIVED, EVENTS, ORDERS
from worker.operations.archive_and_purge import move_settled

MOBILE = "18812340804"


def callback(request_id: str, status: str = "1", amount: str = "2.94") -> dict[str, object]:
    """A callback body as the platform sends it."""
    said = {"requestId": request_id, "appid": "app-1", "trafficSts": status, "remark": "成功", "oriAmount": amount}
    return {**said, "mobile": "188****0804"}


def order_of(name: str) -> dict[str, object]:
    """An order that the billing system sends, r-NAME and c-NAME."""
    return {"request_id": f"r-{name}", "custom_parm": f"c-{name}", "mobile": MOBILE, "expected_amount": "2.94"}


def add_settled(bench: Workbench, *names: str, days_ago: float = 100.0) -> None:
    """Orders that a callback has settled so long ago."""
    for start in range(0, len(names), 1000):
        part = names[start : start + 1000]
        assert bench.intake.enqueue_orders([order_of(name) for name in part])["accepted"] == len(part)
        said = [callback(f"r-{name}") for name in part]
        assert bench.intake.record_callbacks(said)["settled"] == len(part)
    age(bench, *(f"r-{name}" for name in names), days_ago=days_ago)


def add_newest(bench: Workbench) -> None:
    """A pending order with the newest id and the newest event: SQLite's archive never moves these."""
    bench.add("newest")
    assert bench.intake.check_orders([{"request_id": "newest"}])["queued"] == 1


def age(bench: Workbench, *request_ids: str, days_ago: float = 100.0) -> None:
    """Set the time of the last change of these orders: the database's clock cannot be moved."""
    then = bench.now() - timedelta(days=days_ago)
    chosen = ORDERS.c.request_id.in_(request_ids)
    bench.run(update(ORDERS).where(chosen).values(updated_at=then))
    bench.run(update(ORDERS).where(chosen, ORDERS.c.settled_at.is_not(None)).values(settled_at=then))


def archive(bench: Workbench) -> int:
    """Move what settled more than 90 days ago; returns how many orders were moved."""
    return sum(move_settled(bench.database, settled_before(bench)))


def archive_all(bench: Workbench) -> int:
    """Move all that has settled, however lately; returns how many orders were moved."""
    return sum(move_settled(bench.database, bench.now() + timedelta(days=1)))


def settled_before(bench: Workbench) -> datetime:
    """The time 90 days ago."""
    return bench.now() - timedelta(days=90)


def everything(bench: Workbench) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All orders and all events of the live tables."""
    return bench.rows(ORDERS), bench.rows(EVENTS)


def archived_names(bench: Workbench) -> list[str]:
    """The request_ids in the archive."""
    return [row["request_id"] for row in bench.rows(ARCHIVED)]


def standing(bench: Workbench, name: str) -> list[tuple[str, int, str, list[str]]]:
    """Where an order of `add_settled` is stored: (table, id, state, kinds of its events), once for each row."""
    request_id, custom_parm = f"r-{name}", f"c-{name}"
    found = []
    events = bench.rows(EVENTS)
    for row in bench.rows(ORDERS):
        if row["request_id"] == request_id or row["custom_parm"] == custom_parm:
            kinds = [event["kind"].value for event in events if event["order_id"] == row["id"]]
            found.append(("recharge_orders", row["id"], row["state"].value, kinds))
    for row in bench.rows(ARCHIVED):
        if row["request_id"] == request_id or row["custom_parm"] == custom_parm:
            kinds = [event["kind"] for event in json.loads(row["record"])["events"]]
            found.append(("archived_orders", row["id"], row["state"].value, kinds))
    return found
