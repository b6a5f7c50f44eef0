"""What is sent once more of some orders: the latest notification of each, or a new one where none is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.domain.order_notifications import event_of_order
from worker.domain.records.notifications import Endpoint, EventType, Notification, NotificationState
from worker.domain.records.orders import Order

_SET_ONE = "set where its notifications go, and start a worker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resend:
    """What is to be sent once more."""

    again: tuple[Notification, ...]
    """The latest of each order."""
    superseded: tuple[Notification, ...]
    """Given up, and older than one of these: a receiver ignores them, and nobody needs to look at them any more."""
    made: tuple[tuple[Order, EventType], ...]
    """Orders that have none left, and the type by which they are reported."""
    refusals: Mapping[int, str]
    """By order id, in words."""


def choose_resends(
    order_ids: Sequence[int],
    orders: Sequence[Order],
    left: Sequence[Notification],
    endpoints: Mapping[str, Endpoint],
) -> Resend:
    """What to send once more of these orders. `orders` are those that are there, `left` all that is left of their
    notifications, of any state."""
    by_id = {order.id: order for order in orders}
    latest: dict[int, Notification] = {}
    for one in sorted(left, key=lambda row: (row.version, row.id)):
        latest[one.order_id] = one
    made, refusals = [], {}
    for order_id in order_ids:
        order, row = by_id.get(order_id), latest.get(order_id)
        account = order.account if order is not None else row.account if row is not None else None
        if account is None:
            refusals[order_id] = f"there is no order id:{order_id}"
        elif account not in endpoints:
            refusals[order_id] = f"its account {account} has no endpoint; {_SET_ONE}"
        elif row is None and order is not None:
            event = event_of_order(order)
            if event is None:
                refusals[order_id] = f"order {order.key}: is pending, there is no result to send"
            else:
                made.append((order, event))
    again = tuple(row for order_id, row in latest.items() if order_id not in refusals)
    return Resend(
        again=again,
        superseded=tuple(one for one in left if _is_superseded(one, latest[one.order_id], refusals)),
        made=tuple(made),
        refusals=refusals,
    )


def _is_superseded(one: Notification, latest: Notification, refusals: Mapping[int, str]) -> bool:
    return one.state is NotificationState.GAVE_UP and one.id != latest.id and one.order_id not in refusals
