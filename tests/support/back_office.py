"""A database as a back office finds it on a working day: results of some hours, and something of all that may need a
person."""

import json
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import select, update

from tests.support.notifying import put_endpoint
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from worker.database.tables import ACTS, EVENTS, NOTIFICATIONS, ORDERS, QUERIES, REJECTED, UNMATCHED
from worker.domain.records.coded_texts import CodedText, TextCode, to_columns
from worker.domain.records.incoming import Report
from worker.domain.records.notifications import NotificationState
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import Attention, OrderState

MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
"""The remark of one order."""

_EVERY = timedelta(minutes=30)
_IN_A_QUERY = (31, 24, 42, 18, 37, 29, 46)
_CALLED_BACK = (22, 15, 27, 19, 11)
# Of so many orders the part that comes in each hour of a day, from now backwards.
_SHARES = [1.0] * 10 + [0.8, 0.5, 0.3, 0.2, 0.2, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0]
_PRICES = ("9.80", "29.40", "49.00", "98.00", "19.60")
_OPEN = 24
# How long ago those that need a person were submitted.
_HOURS_AGO = (26.4, 3.2, 25.1, 7.5, 1.6, 12.8, 30.3, 48.2, 27.0, 5.4)


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
    unmatched: int

    @property
    def pages(self) -> dict[str, str]:
        """The path of each page, by a name for it; with each kind of order, and lists that are narrowed."""
        lists = (
            "orders",
            "attention",
            "notifications",
            "queries",
            "rejected",
            "unmatched",
            "finance",
            "acts",
            "maintenance",
        )
        return {
            "overview": "/",
            **{name: f"/{name}" for name in lists},
            "order-amount": f"/orders/{self.amount_differs}",
            "order-unresolved": f"/orders/{self.unresolved}",
            "order-pending": f"/orders/{self.pending}",
            "order-markup": f"/orders/{self.with_markup}",
            "query": f"/queries/{self.query}",
            "refused": f"/rejected/{self.rejected}",
            "unmatched-callback": f"/unmatched/{self.unmatched}",
            "search": "/orders?q=18812340",
            "last-four": "/orders?q=0012",
            "elsewhere": "/orders?q=2026112700",
            "nothing": "/orders?q=99999999&state=failed",
            "faulty": "/orders?from=2026-13-01",
            "missing": "/orders/999999999",
        }


def fill(bench: Workbench, *, hours: int = 34) -> BackOffice:
    """Fill an empty database through the worker's own operations; then move what they did into the past."""
    put_endpoint(bench, shown="https://billing.example/hooks")
    number = 1
    for step in range(int(timedelta(hours=hours) / _EVERY), 0, -1):
        ago = step * _EVERY
        share = _SHARES[int(ago / timedelta(hours=1)) % len(_SHARES)]
        called_back, asked = _CALLED_BACK[step % len(_CALLED_BACK)], _IN_A_QUERY[step % len(_IN_A_QUERY)]
        numbers = range(number, number + round(share * called_back) + round(share * asked))
        _settle(bench, numbers, round(share * called_back), ago)
        number = numbers.stop
    _need_a_person(bench, number)
    _deliver(bench)
    _leave_open(bench, number + 20)
    _record_acts(bench)
    # The queries of an order are searched from then on.
    bench.run(update(ORDERS).values(created_at=ORDERS.c.submitted_at))
    return _found(bench)


def name_of(number: int) -> str:
    """The request_id of an order of ours."""
    return f"2026112700{number:06}"


def price_of(number: int) -> str:
    """What such an order costs."""
    return _PRICES[number % len(_PRICES)]


def _fields(number: int) -> dict[str, str]:
    mobile, parm = f"1881234{number:04}", f"SHOP-{number + 4000}"
    return {"request_id": name_of(number), "custom_parm": parm, "mobile": mobile, "expected_amount": price_of(number)}


def _submitted(bench: Workbench, ago: dict[int, timedelta]) -> None:
    """Orders that were submitted so long ago."""
    now = bench.now()
    listed = [{**_fields(one), "submitted_at": (now - lasts).isoformat()} for one, lasts in ago.items()]
    assert bench.intake.enqueue_orders(listed)["rejected"] == []


def _called_back(number: int) -> dict[str, object]:
    return {**callback(name_of(number), amount=price_of(number)), "mobile": f"188****{number:04}"}


def _succeeded(number: int, amount: str | None = None) -> Report:
    return _said(number, "1", amount or price_of(number), "充值成功")


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
    soon = {one: ago + timedelta(seconds=25 + 37 * (one % 13)) for one in numbers[:called_back]}
    late = {one: ago + timedelta(seconds=660 + 97 * (one % 29)) for one in numbers[called_back:]}
    _submitted(bench, {**soon, **late})
    bench.intake.record_callbacks([_called_back(one) for one in soon])
    query = bench.reconcile([_failed(one, "号码暂不支持该套餐") if one % 23 == 0 else _succeeded(one) for one in late])
    _date_back(bench, query.id, [name_of(one) for one in numbers], ago)


def _date_back(bench: Workbench, query_id: int, names: list[str], ago: timedelta) -> None:
    """The database's clock cannot be moved: have what happened just now happen so long ago."""
    then = bench.now() - ago
    ids = select(ORDERS.c.id).where(ORDERS.c.request_id.in_(names))
    bench.run(update(EVENTS).where(EVENTS.c.order_id.in_(ids)).values(at=then))
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.order_id.in_(ids)).values(changed_at=then))
    bench.run(
        update(QUERIES)
        .where(QUERIES.c.id == query_id)
        .values(sent_at=then - timedelta(seconds=1), answered_at=then, answer_excerpt='{"status": "0", "list": []}')
    )
    by_query = (ORDERS.c.request_id.in_(names), ORDERS.c.queried_at.is_not(None))
    bench.run(update(ORDERS).where(*by_query).values(queried_at=then))
    bench.run(update(ORDERS).where(ORDERS.c.request_id.in_(names)).values(settled_at=then, updated_at=then))


def _deliver(bench: Workbench) -> None:
    """All results but the last ones were taken by the billing system; two never were."""
    delivered = {"outcome": "accepted", "http_status": 204, "state": NotificationState.DELIVERED}
    at = NOTIFICATIONS.c.changed_at
    bench.run(update(NOTIFICATIONS).values(**delivered, tried_at=at, delivered_at=at))
    refused = {"outcome": "http_error", "http_status": 500, "tries": 10, "answer": '{"error": "no such order"}'}
    gave_up = {**refused, "state": NotificationState.GAVE_UP, "delivered_at": None}
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id.in_((70, 71))).values(**gave_up))


def _need_a_person(bench: Workbench, number: int) -> None:
    """An order for each attention, one that is unresolved without any, and one with markup in its remark."""
    kinds = [*Attention, OrderState.UNRESOLVED, MARKUP]
    numbers = dict(zip(kinds, range(number, number + len(kinds)), strict=True))
    hours = zip(numbers.values(), _HOURS_AGO, strict=True)
    _submitted(bench, {one: timedelta(hours=ago) for one, ago in hours})
    differs, markup = numbers[Attention.AMOUNT_MISMATCH], numbers[MARKUP]
    late, unknown = numbers[Attention.LATE_CONFLICT], numbers[Attention.UNKNOWN_STATUS]
    more = f"{Decimal(price_of(differs)) + 2}"
    query = bench.reconcile(
        [_succeeded(differs, more), _failed(markup, MARKUP), _succeeded(late), _said(unknown, "7", "0", "处理异常")]
    )
    bench.intake.record_callbacks([{**_called_back(late), "trafficSts": "-1", "oriAmount": "0", "remark": "充值失败"}])
    _date_back(bench, query.id, [name_of(one) for one in (differs, markup, late)], timedelta(minutes=18))
    stopped = (Attention.UNKNOWN_TO_PLATFORM, Attention.REJECTED_BY_PLATFORM, Attention.TOO_OLD)
    shown = (Attention.CONFLICTING_ANSWER, Attention.MOBILE_MISMATCH, *stopped)
    for kind in (*shown, OrderState.UNRESOLVED):
        row = ORDERS.c.request_id == name_of(numbers[kind])
        state = OrderState.UNRESOLVED if kind in (*stopped, OrderState.UNRESOLVED) else OrderState.PENDING
        bench.run(update(ORDERS).where(row).values(state=state, attention=kind if kind in shown else None))
    bench.intake.enqueue_orders([{"request_id": "", "mobile": "12", "expected_amount": "free"}])
    bench.intake.record_callbacks([callback("2026112799000001"), callback("2026112799000002", "-1", "0")])


def _leave_open(bench: Workbench, number: int) -> None:
    """Orders of the last minutes: their callbacks may still come."""
    _submitted(bench, {number + one: timedelta(seconds=40 + 9 * one) for one in range(4 * _OPEN)})
    bench.intake.cancel_orders([{"request_id": name_of(number)}])


def _record_acts(bench: Workbench) -> None:
    what = to_columns(CodedText(TextCode.MANY_ORDERS, count=128))
    reopened = {"order_count": 128, "order_ids": " ".join(map(str, range(1, 129))), "act_key": "a" * 32, **what}
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        for kind, actor, reason, hours, orders in (
            (ActKind.PAUSE, "ann", "平台通知：凌晨维护", 16, {}),
            (ActKind.RESUME, "ann", "维护结束", 11, {}),
            (ActKind.REOPEN, "王芳", "平台故障已恢复", 5, reopened),
        ):
            values = {"at": now - timedelta(hours=hours), "actor": actor, "account": "default", **orders}
            connection.execute(ACTS.insert().values(act=kind.value, reason=reason, **values))


def _found(bench: Workbench) -> BackOffice:
    by_reason = {order.attention: order for order in bench.orders()}
    by_state = {order.state: order for order in bench.orders() if order.attention is None}
    (rejected,) = bench.rows(REJECTED)
    unmatched, _ = bench.rows(UNMATCHED)
    return BackOffice(
        amount_differs=by_reason[Attention.AMOUNT_MISMATCH].id,
        unresolved=by_state[OrderState.UNRESOLVED].id,
        pending=by_state[OrderState.PENDING].id,
        with_markup=next(row["id"] for row in bench.rows(ORDERS) if row["remark"] == MARKUP),
        query=bench.rows(QUERIES)[-1]["id"],
        rejected=rejected["id"],
        unmatched=unmatched["id"],
    )
