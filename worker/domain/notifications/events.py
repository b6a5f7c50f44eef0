"""Make the notifications of a billing system: which changes cause them, their text, and what a resend sends.

A resend reports the current state of each order, by the notification of the order's version or by a new one.
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
    """Return the rank of notifications about this many orders of one act or list: many do not go before results."""
    return Rank.RESULT if orders == 1 else Rank.BULK


def event_of(change: Change) -> EventType | None:
    """Return the type of a change that readers of the table can see: another state, or else another attention.

    Return None if neither changed. Other changes of a pending order (the platform's last answer, the ids, the time of
    the next poll) are not results.
    """
    if change.after.state is not change.before.state:
        return _TYPES[change.after.state]
    return EventType.ATTENTION if change.after.attention is not change.before.attention else None


def event_of_order(order: Order) -> EventType | None:
    """Return the type that reports an order's current state; None if the order is only pending."""
    if order.state is OrderState.PENDING and order.reopened_at is None:
        return None if order.attention is None else EventType.ATTENTION
    return _TYPES[order.state]


def notification_row(one: Notification) -> dict[str, Any]:
    """Return a notification for lists, by the columns of the CSV: with its order's ids and without its text."""
    data = json.loads(one.body).get("data", {})
    names = ("request_id", "custom_parm")
    return {name: data.get(name) if name in names else getattr(one, name) for name in csv_columns.NOTIFICATIONS}


def visible_changes(changes: Iterable[Change]) -> list[tuple[Change, EventType]]:
    """Return the changes that a billing system is notified of, each with its type."""
    return [(change, event) for change in changes if (event := event_of(change)) is not None]


def wanted(endpoint: Endpoint | None, event: EventType) -> bool:
    """Whether an account is notified of events of this type. An account without an endpoint is notified of none."""
    return endpoint is not None and endpoint.takes(event)


def notification_of_change(
    change: Change, event: EventType, *, event_id: str, now: datetime, rank: Rank
) -> NewNotification:
    """Return the notification of a change that is saved at `now`, by the database's clock."""
    source = change.events[-1].source if change.events else Source.WORKER
    version = change.before.next_version(now)
    saved = replace(change.after, version=version)
    return notification_of_order(saved, event, event_id=event_id, changed_at=now, rank=rank, source=source)


def notification_of_order(
    order: Order, event: EventType, *, event_id: str, changed_at: datetime, rank: Rank, source: Source | None = None
) -> NewNotification:
    """Return the notification of an order's current state, under its current version. `source` is the source of its
    last change; None for a resend, which names the source that settled the order."""
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
    """Return the text of a test event, for no order and with version 0. Receivers ignore types they do not know."""
    return body_of("test", {"account": account, "version": 0}, now)


def body_of(event: str, data: Mapping[str, object], timestamp: datetime) -> str:
    """Return the text to send: JSON in one line, with the time of the change."""
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
    """The notifications to resend, and the orders that are refused."""

    again: tuple[Notification, ...]
    """The notifications of the orders' current versions."""
    superseded: tuple[Notification, ...]
    """Notifications that were given up and are older than a resent one. Receivers would ignore them, and nobody needs
    to read them any more."""
    made: tuple[tuple[Order, EventType], ...]
    """Orders that get a new notification, with its type. They are renewed, or the one of their version is gone."""
    refusals: Mapping[int, CodedText]
    """Why an order is refused, by its id."""


def choose_resends(
    order_ids: Sequence[int],
    orders: Sequence[Order],
    left: Sequence[Notification],
    endpoints: Mapping[str, Endpoint],
    *,
    renew: bool = False,
) -> Resend:
    """Choose the notifications to resend for these orders.

    `orders` are those of them that exist. `left` are all their notifications that still exist, of any state. With
    `renew`, each order gets a new notification, because its version will be raised.

    A notification of an older version is never sent instead: it may look right but have another amount, and its
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
    # The row reports an attention that the order no longer has.
    return EventType.ATTENTION if event is None and row is not None else event
