"""A database as a back office finds it on a working day: results of some hours, and something of all that may need a
person."""

import json
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update

from tests.support.archiving import callback
from tests.support.notifying import put_endpoint
from tests.support.reconciling import Workbench, item
from worker.database.tables import ACTS, EVENTS, NOTIFICATIONS, ORDERS, QUERIES, REJECTED, UNMATCHED
from worker.domain.records.acts import ActKind
from worker.domain.records.attention import Attention
from worker.domain.records.notifications import NotificationState
from worker.domain.records.orders import OrderState
from worker.domain.records.reports import Report

MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
"""The remark of one order."""

_EVERY = timedelta(minutes=10)
_IN_A_QUERY = (31, 24, 42, 18, 37, 29, 46)
_CALLED_BACK = (22, 15, 27, 19, 11)
_OPEN = 24


@dataclass(frozen=True, kw_only=True)
class BackOffice:
    """The ids of rows that pages show."""

    amount_differs: int
    """An order that succeeded, for another amount than expected."""
    unresolved: int
    pending: int
    with_markup: int
    query: int
    rejected: int

    @property
    def pages(self) -> dict[str, str]:
        """The path of each page, by a name for it; with each kind of order, and lists that are narrowed."""
        lists = ("orders", "attention", "notifications", "queries", "rejected", "unmatched", "acts")
        return {
            "overview": "/",
            **{name: f"/{name}" for name in lists},
            "order-amount": f"/orders/{self.amount_differs}",
            "order-unresolved": f"/orders/{self.unresolved}",
            "order-pending": f"/orders/{self.pending}",
            "order-markup": f"/orders/{self.with_markup}",
            "query": f"/queries/{self.query}",
            "refused": f"/rejected/{self.rejected}",
            "search": "/orders?q=18812340",
            "nothing": "/orders?q=99999999&state=failed",
            "faulty": "/orders?from=2026-13-01",
            "missing": "/orders/999999999",
        }


def fill(bench: Workbench, *, hours: int = 12) -> BackOffice:
    """Fill an empty database through the worker's own operations; then move what they did into the past."""
    put_endpoint(bench, shown="https://billing.example/hooks")
    number = 1
    for step in range(int(timedelta(hours=hours) / _EVERY), 0, -1):
        called_back, asked = _CALLED_BACK[step % len(_CALLED_BACK)], _IN_A_QUERY[step % len(_IN_A_QUERY)]
        numbers = range(number, number + called_back + asked)
        _settle(bench, numbers, called_back, step * _EVERY)
        number = numbers.stop
    _deliver(bench)
    _need_a_person(bench, number)
    _leave_open(bench, number + 20)
    _record_acts(bench)
    return _found(bench)


def name_of(number: int) -> str:
    """The request_id of an order of ours."""
    return f"2026112700{number:06}"


def _fields(number: int) -> dict[str, str]:
    mobile, parm = f"1881234{number:04}", f"SHOP-{number + 4000}"
    return {"request_id": name_of(number), "custom_parm": parm, "mobile": mobile, "expected_amount": "2.94"}


def _succeeded(number: int, amount: str = "2.94") -> Report:
    return _said(number, "1", amount, "充值成功")


def _failed(number: int, remark: str) -> Report:
    return _said(number, "-1", "0", remark)


def _said(number: int, status: str, amount: str, remark: str) -> Report:
    """An item of an answer, with its own words as the platform writes them."""
    mobile = f"188****{number:04}"
    words = {
        "requestId": name_of(number),
        "mobile": mobile,
        "trafficSts": status,
        "oriAmount": amount,
        "remark": remark,
    }
    text = json.dumps(words, ensure_ascii=False)
    return item(name_of(number), status, amount, mobile=mobile, remark=remark, words=text)


def _settle(bench: Workbench, numbers: range, called_back: int, ago: timedelta) -> None:
    """Orders whose results came so long ago: of the first ones by callback, of the others by a query."""
    waited = 660.0 + 97.0 * (numbers.start % 29)
    bench.enqueue(*map(_fields, numbers), age_seconds=ago.total_seconds() + waited)
    bench.intake.record_callbacks(
        [{**callback(name_of(one)), "mobile": f"188****{one:04}"} for one in numbers[:called_back]]
    )
    query = bench.reconcile(
        [_failed(one, "号码暂不支持该套餐") if one % 11 == 0 else _succeeded(one) for one in numbers[called_back:]]
    )
    _date_back(bench, query.id, [name_of(one) for one in numbers], ago)


def _date_back(bench: Workbench, query_id: int, names: list[str], ago: timedelta) -> None:
    """The database's clock cannot be moved: have what happened just now happen so long ago."""
    with bench.database.write() as connection:
        then = bench.database.now(connection) - ago
        ids = select(ORDERS.c.id).where(ORDERS.c.request_id.in_(names))
        connection.execute(update(EVENTS).where(EVENTS.c.order_id.in_(ids)).values(at=then))
        connection.execute(update(NOTIFICATIONS).where(NOTIFICATIONS.c.order_id.in_(ids)).values(changed_at=then))
        connection.execute(
            update(QUERIES)
            .where(QUERIES.c.id == query_id)
            .values(sent_at=then - timedelta(seconds=1), answered_at=then, answer_excerpt='{"status": "0", "list": []}')
        )
        by_query = (ORDERS.c.request_id.in_(names), ORDERS.c.queried_at.is_not(None))
        connection.execute(update(ORDERS).where(*by_query).values(queried_at=then))
        connection.execute(
            update(ORDERS).where(ORDERS.c.request_id.in_(names)).values(settled_at=then, updated_at=then)
        )


def _deliver(bench: Workbench) -> None:
    """All results but the last ones were taken by the billing system; two never were."""
    with bench.database.write() as connection:
        delivered = {"outcome": "accepted", "http_status": 204, "state": NotificationState.DELIVERED}
        at = NOTIFICATIONS.c.changed_at
        connection.execute(update(NOTIFICATIONS).values(**delivered, tried_at=at, delivered_at=at))
        refused = {"outcome": "http_error", "http_status": 500, "tries": 10, "answer": '{"error": "no such order"}'}
        gave_up = {**refused, "state": NotificationState.GAVE_UP, "delivered_at": None}
        connection.execute(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id.in_((70, 71))).values(**gave_up))


def _need_a_person(bench: Workbench, number: int) -> None:
    """An order for each attention, one that is unresolved without any, and one with markup in its remark."""
    listed = [reason for reason in Attention if reason is not Attention.AMOUNT_MISMATCH]
    numbers = dict(
        zip(
            [*listed, OrderState.UNRESOLVED, Attention.AMOUNT_MISMATCH, MARKUP],
            range(number, number + 20),
            strict=False,
        )
    )
    bench.enqueue(*(_fields(one) for one in numbers.values()), age_seconds=26 * 3600.0)
    bench.reconcile([_succeeded(numbers[Attention.AMOUNT_MISMATCH], "4.90"), _failed(numbers[MARKUP], MARKUP)])
    for reason in listed:
        bench.run(
            "UPDATE recharge_orders SET attention = :reason WHERE request_id = :name",
            reason=reason.value,
            name=name_of(numbers[reason]),
        )
    for unresolved in (OrderState.UNRESOLVED, Attention.UNKNOWN_TO_PLATFORM):
        bench.run(
            "UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = :name",
            name=name_of(numbers[unresolved]),
        )
    bench.intake.enqueue_orders([{"request_id": "", "mobile": "12", "expected_amount": "free"}])
    bench.intake.record_callbacks([callback("2026112799000001"), callback("2026112799000002", "-1", "0")])


def _leave_open(bench: Workbench, number: int) -> None:
    """Orders of the last minutes: their callbacks may still come."""
    for step in range(4):
        numbers = range(number + step * _OPEN, number + (step + 1) * _OPEN)
        bench.enqueue(*map(_fields, numbers), age_seconds=60.0 + 240 * step)
    bench.intake.cancel_orders([{"request_id": name_of(number)}])


def _record_acts(bench: Workbench) -> None:
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        for kind, reason, hours in ((ActKind.PAUSE, "平台通知：凌晨维护", 6), (ActKind.RESUME, "维护结束", 5)):
            values = {"at": now - timedelta(hours=hours), "actor": "ann", "account": "default"}
            connection.execute(ACTS.insert().values(act=kind.value, reason=reason, **values))


def _found(bench: Workbench) -> BackOffice:
    by_reason = {order.attention: order for order in bench.orders()}
    by_state = {order.state: order for order in bench.orders() if order.attention is None}
    (rejected,) = bench.rows(REJECTED)
    assert len(bench.rows(UNMATCHED)) == 2
    return BackOffice(
        amount_differs=by_reason[Attention.AMOUNT_MISMATCH].id,
        unresolved=by_state[OrderState.UNRESOLVED].id,
        pending=by_state[OrderState.PENDING].id,
        with_markup=next(row["id"] for row in bench.rows(ORDERS) if row["remark"] == MARKUP),
        query=bench.rows(QUERIES)[-1]["id"],
        rejected=rejected["id"],
    )
