"""Poll an order after a callback that may not settle the order: the callback is only a hint (`Trust.CHECK`), or its
result proves nothing by itself.

The answer to the query decides. So a forged callback can get its order polled, but cannot settle the order. Two limits
bound the effect of many forged callbacks. First, each order is polled after callbacks at most once per re-query
interval. Second, orders that are polled out of turn, because of callbacks or requested checks, take at most half of a
batch. If a callback comes before the interval has passed, it is not dropped: its order is polled once the interval has
passed.
"""

from dataclasses import replace
from datetime import datetime

from worker.domain.orders.settlement import poll_unresolved_at, record_report, settle, unresolved_again_at
from worker.domain.orders.verdicts import Verdict, judge
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Report
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Order, OrderState, Source, TrafficStatus, gravest

_RESULTS = (TrafficStatus.RECHARGED, TrafficStatus.FAILED)
_SHORTEST_INTERVAL_WINDOWS = 2


def check_by_callback(order: Order, report: Report, now: datetime, rules: Rules, *, app_id: str) -> Change:
    """Request a poll of the order if the callback reports a result. An unresolved order stays unresolved until the
    poll.

    If the order is final or cancelled, a callback that contradicts its state sets the attention `late_conflict`; any
    other callback is only recorded. `app_id` is the appid of the order's account.
    """
    if not order.state.may_settle:
        echoes_price = order.account in rules.echoing_accounts
        verdict = judge(order, [report], app_id=app_id, polled_by=None, echoes_price=echoes_price)
        return _late_word(order, verdict, now)
    if report.fault or report.status not in _RESULTS:
        return Change.none(order)
    after = poll_after_callback(order, now, rules)
    if after == order:
        return Change.none(order)
    return record_report(order, after, EventKind.CHECK_REQUESTED, report, source=Source.CALLBACK, at=now)


def poll_after_callback(order: Order, now: datetime, rules: Rules) -> Order:
    """Return a pending or unresolved order with a requested poll: now, or as soon as the order's re-query interval has
    passed.

    Return the order unchanged if a poll was requested earlier and has not been made yet.
    """
    is_leased, requested_at = order.is_leased(now), order.check_requested_at
    # If a query about the order is in flight, it was sent before the callback came. It does not count as the requested
    # poll, because its answer may be older than the callback.
    if requested_at is not None and (not is_leased or requested_at > now):
        return order
    if order.state is OrderState.UNRESOLVED:
        polled_at = now if is_leased else order.queried_at
        after_interval = polled_at and unresolved_again_at(polled_at, rules)
        after = poll_unresolved_at(order, max(now, after_interval or now, order.callback_check_after or now))
        return replace(after, due_at=order.due_at) if is_leased else after
    at = max(now, order.callback_check_after or now)
    return replace(
        order,
        due_at=order.due_at if is_leased else min(order.due_at, at),
        check_requested_at=at,
        callback_check_after=max(order.due_at, at + rules.windows(_SHORTEST_INTERVAL_WINDOWS)),
    )


def _late_word(order: Order, verdict: Verdict, now: datetime) -> Change:
    """Record a callback about a final or cancelled order. The order is shown to a person only if the callback
    contradicts its state."""
    late = settle(order, verdict, source=Source.CALLBACK, now=now)
    if any(event.kind is EventKind.CONTRADICTED for event in late.events):
        return late
    if verdict.is_denial and order.state is not OrderState.FAILED:
        # A callback with the status -1 contradicts a success, even if it does not prove that the recharge failed.
        shown = replace(order, attention=gravest(order.attention, Attention.LATE_CONFLICT))
        return record_report(order, shown, EventKind.CONTRADICTED, verdict.report, source=Source.CALLBACK, at=now)
    return record_report(order, order, EventKind.IGNORED, verdict.report, source=Source.CALLBACK, at=now)
