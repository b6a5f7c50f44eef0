"""When polling an order stops and a person decides. An answer or a callback may still settle it."""

from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.records.order_changes import Change, EventKind, OrderEvent
from worker.domain.records.orders import Attention, Order, OrderState, Source, gravest
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query

OVERDUE_WINDOWS = 60
"""An order that is still pending so long past the age limit, for whatever reason, is shown to a person."""


def give_up(change: Change, attention: Attention, query: Query, now: datetime, detail: str) -> Change:
    """Make an order unresolved."""
    order = change.after
    after = replace(order.no_longer_polled(OrderState.UNRESOLVED), attention=gravest(order.attention, attention))
    return change.then(after, [query.event(order, after, EventKind.GAVE_UP, now, f"{attention}: {detail}")])


def give_up_if_too_old(change: Change, query: Query, now: datetime, rules: Rules, detail: str) -> Change:
    """Make a pending order unresolved, if the query was sent when the order was past the age limit."""
    order = change.after
    if order.state is not OrderState.PENDING or not query.is_past_age_limit(order, rules):
        return change
    return give_up(change, Attention.TOO_OLD, query, now, detail)


def overdue_before(now: datetime, rules: Rules) -> datetime:
    """Pending orders that were submitted before this time are overdue."""
    return now - timedelta(seconds=rules.unresolved_after_seconds) - rules.windows(OVERDUE_WINDOWS)


def flag_overdue(order: Order, now: datetime, rules: Rules) -> Change:
    """Show an overdue order to a person: it stays pending, since no answer has said anything of it."""
    unchanged = Change(before=order, after=order)
    is_overdue = order.state is OrderState.PENDING and order.age_limit_from < overdue_before(now, rules)
    if not is_overdue or order.attention is not None or order.dismissed_at is not None:
        return unchanged
    after = replace(order, attention=Attention.TOO_OLD)
    event = OrderEvent(
        order_id=order.id,
        at=now,
        kind=EventKind.OVERDUE,
        source=Source.WORKER,
        from_state=order.state,
        to_state=after.state,
        detail=f"still pending {OVERDUE_WINDOWS} windows past the age limit",
    )
    return unchanged.then(after, [event])
