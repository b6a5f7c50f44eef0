"""What is sent once more of some orders: how each stands, by the notification of its version or by a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.domain.order_notifications import event_of_order
from worker.domain.records.notifications import Endpoint, EventType, Notification, NotificationState
from worker.domain.records.orders import Order

_SET_ONE = "set where its notifications go, and start a worker"
_TYPES = "RECONCILER_NOTIFY_EVENTS, or notify_events of its account, says which types it takes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resend:
    """What is to be sent once more."""

    again: tuple[Notification, ...]
    """Of each order the one of its version."""
    superseded: tuple[Notification, ...]
    """Given up, and older than one of these: a receiver ignores them, and nobody needs to look at them any more."""
    made: tuple[tuple[Order, EventType], ...]
    """Orders of whose version none is left, or that are renewed, and the type by which they are reported."""
    refusals: Mapping[int, str]
    """By order id, in words."""


def choose_resends(
    order_ids: Sequence[int],
    orders: Sequence[Order],
    left: Sequence[Notification],
    endpoints: Mapping[str, Endpoint],
    *,
    renew: bool = False,
) -> Resend:
    """What to send once more of these orders. `orders` are those that are there, `left` all that is left of their
    notifications, of any state. `renew`: each gets a new one, as its version is to be raised.

    An older notification is not sent instead: it may look like the order and hold another amount, and its receiver
    ignores it.
    """
    by_id = {order.id: order for order in orders}
    ordered = sorted(left, key=lambda row: (row.version, row.id))
    latest = {one.order_id: one for one in ordered}
    of_version = {(one.order_id, one.version): one for one in ordered}
    again, made, refusals = dict[int, Notification](), list[tuple[Order, EventType]](), dict[int, str]()
    for order_id in order_ids:
        order, row = by_id.get(order_id), latest.get(order_id)
        account = order.account if order is not None else row.account if row is not None else None
        if account is None:
            refusals[order_id] = f"there is no order id:{order_id}"
        elif account not in endpoints:
            refusals[order_id] = f"its account {account} has no endpoint; {_SET_ONE}"
        elif order is None and renew:
            refusals[order_id] = f"order {order_id}: is no longer there, its version cannot be raised"
        elif not renew and (same := row if order is None else of_version.get((order_id, order.version))) is not None:
            again[same.id] = same
        elif order is None or (event := _event_to_make(order, row)) is None:
            refusals[order_id] = f"order {order.key if order else order_id}: is pending, there is no result to send"
        elif not endpoints[account].takes(event):
            refusals[order_id] = f"order {order.key}: its endpoint does not take {event.value}; {_TYPES}"
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
    # The row reports an attention that is gone by now.
    return EventType.ATTENTION if event is None and row is not None else event
