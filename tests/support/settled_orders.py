"""Orders that are settled and old."""

from datetime import timedelta

from sqlalchemy import update

from tests.support.reconciling import Workbench
from worker.database.tables import ORDERS
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import LongAct, Operator

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
    """A pending order with the newest id and the newest event: on SQLite these are never deleted."""
    bench.add("newest")
    assert bench.intake.check_orders([{"request_id": "newest"}])["queued"] == 1


def age(bench: Workbench, *request_ids: str, days_ago: float = 100.0) -> None:
    """Set the time of the last change of these orders: the database's clock cannot be moved."""
    then = bench.now() - timedelta(days=days_ago)
    chosen = ORDERS.c.request_id.in_(request_ids)
    bench.run(update(ORDERS).where(chosen).values(updated_at=then))
    bench.run(update(ORDERS).where(chosen, ORDERS.c.settled_at.is_not(None)).values(settled_at=then))


def a_purge() -> LongAct:
    """The record of a purge."""
    return LongAct(Operator(name="ann"), ActKind.PURGE)
