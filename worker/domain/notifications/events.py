"""Make the notifications to billing systems. Decide which changes cause a notification, write its text, and choose what
a resend sends.

A resend reports the current state of each order. It sends the notification of the order's current version again, or a
new one if there is none.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from worker.domain.records import csv_columns
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.notifications import (
    Endpoint,
    EventType,
    NewNotification,
    Notification,
    NotificationState,
    Rank,
)
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order, OrderState, Source
from worker.domain.wire.fields import amount_text

LONGEST_REMARK = 1_000
"""The most characters of the platform's remark that a notification carries."""

_TYPES: Mapping[OrderState, EventType] = {
    OrderState.SUCCEEDED: EventType.SUCCEEDED,
    OrderState.FAILED: EventType.FAILED,
    OrderState.UNRESOLVED: EventType.UNRESOLVED,
    OrderState.CANCELLED: EventType.CANCELLED,
    OrderState.PENDING: EventType.REOPENED,
}


def rank_of(orders: int) -> Rank:
    """Return the rank of notifications that one act or list causes, if it is about this many orders. Notifications
    about several orders do not go before results."""
    return Rank.RESULT if orders == 1 else Rank.BULK


def event_of(change: Change) -> EventType | None:
    """Return the type of event by which a change is notified. The type says that the state has changed or, if it has
    not, that the attention has changed.

    Return None if neither has changed. Other changes (the platform's last answer, the ids, the time of the next poll)
    are not results, and are not notified.
    """
    if change.after.state is not change.before.state:
        return _TYPES[change.after.state]
    return EventType.ATTENTION if change.after.attention is not change.before.attention else None


def event_of_order(order: Order) -> EventType | None:
    """Return the type of event that reports an order's current state. Return None if the order is pending, has never
    been reopened and has no attention."""
    if order.state is OrderState.PENDING and order.reopened_at is None:
        return None if order.attention is None else EventType.ATTENTION
    return _TYPES[order.state]


def notification_row(one: Notification) -> dict[str, Any]:
    """Return a notification as a row of a list or a CSV file, by column name. The row has the order's ids, but not the
    notification's text."""
    data = json.loads(one.body).get("data", {})
    names = ("request_id", "custom_parm")
    return {name: data.get(name) if name in names else getattr(one, name) for name in csv_columns.NOTIFICATIONS}


def visible_changes(changes: Iterable[Change]) -> list[tuple[Change, EventType]]:
    """Return the changes of which billing systems are notified, each with the type of its event."""
    return [(change, event) for change in changes if (event := event_of(change)) is not None]


def wanted(endpoint: Endpoint | None, event: EventType) -> bool:
    """Whether an account is notified of events of this type. An account without an endpoint is notified of nothing."""
    return endpoint is not None and endpoint.takes(event)


def notification_of_change(
    change: Change, event: EventType, *, event_id: str, now: datetime, rank: Rank
) -> NewNotification:
    """Return the notification of a change. `now` is when the change is saved, by the database's clock."""
    source = change.events[-1].source if change.events else Source.WORKER
    version = change.before.next_version(now)
    saved = replace(change.after, version=version)
    return notification_of_order(saved, event, event_id=event_id, changed_at=now, rank=rank, source=source)


def notification_of_order(
    order: Order, event: EventType, *, event_id: str, changed_at: datetime, rank: Rank, source: Source | None = None
) -> NewNotification:
    """Return the notification of an order's current state, under its current version. `source` is what caused the
    order's last change. It is None for a resend, whose text names the source that settled the order."""
    return NewNotification(
        event_id=event_id,
        account=order.account,
        order_id=order.id,
        type=event,
        version=order.version,
        rank=rank,
        body=body_of(event, _data(order, source or order.settled_by or Source.OPERATOR), changed_at),
        changed_at=changed_at,
    )


def body_of_test(account: str, now: datetime) -> str:
    """Return the text of a test event. It is about no order, and its version is 0. Receivers ignore a type of event
    that they do not know."""
    return body_of("test", {"account": account, "version": 0}, now)


def body_of(event: str, data: Mapping[str, object], timestamp: datetime) -> str:
    """Return the text of a notification: JSON in one line. `timestamp` is the time of the change that it reports."""
    return json.dumps(
        {"type": event, "timestamp": _utc(timestamp), "data": data}, ensure_ascii=False, separators=(",", ":")
    )


def _data(order: Order, source: Source) -> dict[str, object]:
    return {
        "account": order.account,
        "request_id": order.request_id,
        "custom_parm": order.custom_parm,
        "mobile": order.mobile,
        "state": order.state,
        "traffic_sts": None if order.traffic_sts is None else int(order.traffic_sts),
        "remark": None if order.remark is None else order.remark[:LONGEST_REMARK],
        "ori_amount": _yuan(order.ori_amount),
        "amount_is_price": order.amount_is_price,
        "expected_amount": _yuan(order.expected_amount),
        "attention": order.attention,
        "settled_by": order.settled_by,
        "settled_at": None if order.settled_at is None else _utc(order.settled_at),
        "source": source,
        "version": order.version,
    }


def _yuan(amount: Decimal | None) -> str | None:
    return None if amount is None else amount_text(amount)


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


@dataclass(frozen=True, kw_only=True, slots=True)
class Resend:
    """The choices of a resend: which notifications are sent, and which orders are refused."""

    again: tuple[Notification, ...]
    """Existing notifications to send again: those of the orders' current versions."""
    superseded: tuple[Notification, ...]
    """Notifications of the same orders that were given up, and that a resent or new notification replaces. Receivers
    would ignore them, and nobody needs to read them any more."""
    made: tuple[tuple[Order, EventType], ...]
    """Orders that get a new notification, each with the type of its event. These orders are renewed, or their current
    version has no notification."""
    refusals: Mapping[int, CodedText]
    """Maps the id of each refused order to the reason."""


def choose_resends(
    order_ids: Sequence[int],
    orders: Sequence[Order],
    left: Sequence[Notification],
    endpoints: Mapping[str, Endpoint],
    *,
    renew: bool = False,
) -> Resend:
    """Choose the notifications to resend for these orders.

    `orders` are the orders with these ids that exist. `left` are all notifications of these orders that still exist, in
    any state. With `renew`, each order gets a new notification, because the order's version will be raised.

    A notification of an older version of the order is never resent. It may look right but state another amount, and its
    receiver would ignore it.
    """
    by_id = {order.id: order for order in orders}
    ordered = sorted(left, key=lambda row: (row.version, row.id))
    latest = {one.order_id: one for one in ordered}
    of_version = {(one.order_id, one.version): one for one in ordered}
    again, made, refusals = dict[int, Notification](), list[tuple[Order, EventType]](), dict[int, CodedText]()
    for order_id in order_ids:
        order = by_id.get(order_id)
        if order is None:
            refusals[order_id] = CodedText(TextCode.NO_ORDER, number=f"id:{order_id}")
        elif order.account not in endpoints:
            refusals[order_id] = CodedText(TextCode.NO_ENDPOINT, account=order.account)
        elif not renew and (same := of_version.get((order_id, order.version))) is not None:
            again[same.id] = same
        elif (event := _event_to_make(order, latest.get(order_id))) is None:
            refusals[order_id] = CodedText(TextCode.NO_RESULT, order=str(order.key))
        elif not endpoints[order.account].takes(event):
            refusals[order_id] = CodedText(TextCode.TYPE_NOT_TAKEN, order=str(order.key), event=event)
        else:
            made.append((order, event))
    superseded = [
        one
        for one in left
        if one.state is NotificationState.GAVE_UP and one.id not in again and one.order_id not in refusals
    ]
    return Resend(again=tuple(again.values()), superseded=tuple(superseded), made=tuple(made), refusals=refusals)


def _event_to_make(order: Order, row: Notification | None) -> EventType | None:
    event = event_of_order(order)
    # The order needs no report of its own, but an earlier notification reported an attention that the order no longer
    # has. The new one reports that.
    return EventType.ATTENTION if event is None and row is not None else event
