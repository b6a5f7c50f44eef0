"""When asking about an order stops: a person decides. An answer or a callback still settles it."""

from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.orders import Attention, Change, EventKind, OrderState, gravest
from worker.domain.queries import Query
from worker.domain.rules import Rules


def give_up(change: Change, attention: Attention, query: Query, now: datetime, detail: str) -> Change:
    """Make an order unresolved."""
    order = change.after
    after = replace(order.no_longer_asked_about(OrderState.UNRESOLVED), attention=gravest(order.attention, attention))
    return change.then(after, [query.event(order, after, EventKind.GAVE_UP, now, f"{attention}: {detail}")])


def give_up_if_too_old(change: Change, query: Query, now: datetime, rules: Rules, detail: str) -> Change:
    """Make a pending order unresolved, if the query was sent when the order was past the age at which asking stops."""
    order = change.after
    is_too_old = query.sent_at - order.submitted_at >= timedelta(seconds=rules.unresolved_after_seconds)
    if order.state is not OrderState.PENDING or not is_too_old:
        return change
    return give_up(change, Attention.TOO_OLD, query, now, detail)
