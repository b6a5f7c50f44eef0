"""Requests of the billing system by reference: which orders may be cancelled, and which may be checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from worker.domain.orders.settlement import poll_again_now
from worker.domain.records.incoming import Directory, Rejection
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Order, OrderKey, OrderState, Source
from worker.domain.records.sentences import Sentence, _

Reference = tuple[int, object, OrderKey]
"""Index in the list, payload, key."""


@dataclass(kw_only=True, slots=True)
class ReferenceResult:
    """The result of a list of references."""

    changed: int = 0
    unchanged: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    changes: dict[int, Change] = field(default_factory=dict)
    """By order id."""


def cancel_all(references: Sequence[Reference], orders: Sequence[Order], now: datetime) -> ReferenceResult:
    """Stop polling orders that the billing system has dealt with. Final and cancelled ones stay as they are.

    `orders` are all that the references name.
    """
    result = ReferenceResult()
    for order, _reference in _named(references, orders, result):
        if order.state.may_settle and order.id not in result.changes:
            after = order.no_longer_polled(OrderState.CANCELLED)
            result.changes[order.id] = _change(order, after, EventKind.CANCELLED, now)
            result.changed += 1
        else:
            result.unchanged += 1
    return result


def check_all(references: Sequence[Reference], orders: Sequence[Order], now: datetime) -> ReferenceResult:
    """Poll pending orders next. Orders in other states are refused: they have to be reopened first.

    `orders` are all that the references name.
    """
    result = ReferenceResult()
    for order, (index, payload, key) in _named(references, orders, result):
        if order.state is not OrderState.PENDING:
            is_now = Sentence(order.state.value)
            error = _("order %(order)s: is %(state)s, not pending; reopen it first", key, is_now)
            result.rejections.append(Rejection(index=index, payload=payload, errors=(error,)))
            continue
        after = replace(poll_again_now(order, now), check_requested_at=now)
        result.changes[order.id] = _change(order, after, EventKind.CHECK_REQUESTED, now)
        result.changed += 1
    return result


def _named(
    references: Sequence[Reference], orders: Sequence[Order], result: ReferenceResult
) -> list[tuple[Order, Reference]]:
    """The orders that references name, one each; what names none or two is refused."""
    by_id, directory = {order.id: order for order in orders}, Directory(orders)
    found = []
    for index, payload, key in references:
        named = directory.holders(key)
        if len(named) == 1:
            found.append((by_id[named[0]], (index, payload, key)))
            continue
        why = _("its ids belong to two different orders") if named else _("is not known; enqueue it first")
        error = _("order %(order)s: %(why)s", key, why)
        result.rejections.append(Rejection(index=index, payload=payload, errors=(error,)))
    return found


def _change(before: Order, after: Order, kind: EventKind, now: datetime) -> Change:
    return Change.none(before).record(after, kind, source=Source.BILLING, at=now)
