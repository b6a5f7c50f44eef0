"""Cancelling orders, and asking for a look at them, by reference."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from worker.domain.identity import Directory, OrderKey
from worker.domain.orders import Change, EventKind, Order, OrderEvent, OrderState, Source
from worker.domain.settlement import ask_again_now
from worker.domain.submissions import Rejection
from worker.stores.recharge_orders import lock_by_keys, save_changes


@dataclass(kw_only=True, slots=True)
class Handled:
    """What became of a list of references."""

    changed: int = 0
    unchanged: int = 0
    rejections: list[Rejection] = field(default_factory=list)


Reference = tuple[int, object, OrderKey]
"""Place in the list, payload, key."""


def cancel(connection: Connection, references: Sequence[Reference], now: datetime) -> Handled:
    """Stop asking about orders that the billing system has dealt with. Final and cancelled ones stay as they are."""
    handled, changes = Handled(), {}
    for order, _ in _named(connection, references, handled):
        if order.state.may_settle and order.id not in changes:
            after = order.no_longer_asked_about(OrderState.CANCELLED)
            changes[order.id] = _change(order, after, EventKind.CANCELLED, now)
            handled.changed += 1
        else:
            handled.unchanged += 1
    save_changes(connection, changes.values(), now)
    return handled


def check(connection: Connection, references: Sequence[Reference], now: datetime) -> Handled:
    """Ask about pending orders next. Other states are refused: whoever wants them asked about reopens them first."""
    handled, changes = Handled(), {}
    for order, (index, payload, key) in _named(connection, references, handled):
        if order.state is not OrderState.PENDING:
            error = f"order {key}: is {order.state.value}, not pending; reopen it first"
            handled.rejections.append(Rejection(index=index, payload=payload, errors=(error,)))
            continue
        marked = ask_again_now(Change(before=order, after=order), now).after
        after = replace(marked, check_requested_at=now)
        changes[order.id] = _change(order, after, EventKind.CHECK_REQUESTED, now)
        handled.changed += 1
    save_changes(connection, changes.values(), now)
    return handled


def _named(connection: Connection, references: Sequence[Reference], handled: Handled) -> list[tuple[Order, Reference]]:
    """The locked orders that references name, one each; what names none or two is refused."""
    rows = lock_by_keys(connection, [key for _, _, key in references])
    orders, directory = {order.id: order for order in rows}, Directory()
    for order in rows:
        directory.enter(order.key, order.id)
    found = []
    for index, payload, key in references:
        named = directory.holders(key)
        if len(named) == 1:
            found.append((orders[named[0]], (index, payload, key)))
            continue
        error = f"order {key}: " + (
            "its ids belong to two different orders" if named else "is not known; enqueue it first"
        )
        handled.rejections.append(Rejection(index=index, payload=payload, errors=(error,)))
    return found


def _change(before: Order, after: Order, kind: EventKind, now: datetime) -> Change:
    event = OrderEvent(
        order_id=before.id, at=now, kind=kind, source=Source.BILLING, from_state=before.state, to_state=after.state
    )
    return Change(before=before, after=after, events=(event,))
