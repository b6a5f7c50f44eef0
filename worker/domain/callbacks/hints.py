"""Callbacks after which an order is polled: hints (`Trust.CHECK`), and results that prove nothing by themselves.

A query says what is true, so a forged callback gains a place in a query, and settles nothing. Two bounds keep forged
callbacks from being a flood: they have each order polled once per re-query interval, and at most half a batch goes to
such orders out of turn, as to requested checks. A callback that comes too early is not dropped: its order is polled
when the interval has passed.
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
    """Have an order polled if the callback reports a result. An unresolved order stays unresolved until then.

    If the order is final or cancelled, a contradiction raises `late_conflict`; anything else is only recorded. `app_id`
    is that of the order's account.
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
    """A pending or unresolved order that is polled after this callback: now, or as soon as its interval has passed.

    It is returned as it is if a poll that was requested before is still to come.
    """
    is_leased, requested_at = order.is_leased(now), order.check_requested_at
    # The query under way was sent before the callback, so its answer may be older.
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
    """A callback about an order that is final or cancelled: only a contradiction is shown to a person."""
    late = settle(order, verdict, source=Source.CALLBACK, now=now)
    if any(event.kind is EventKind.CONTRADICTED for event in late.events):
        return late
    if verdict.is_denial and order.state is not OrderState.FAILED:
        # A -1 contradicts a success even if it proves no failure.
        shown = replace(order, attention=gravest(order.attention, Attention.LATE_CONFLICT))
        return record_report(order, shown, EventKind.CONTRADICTED, verdict.report, source=Source.CALLBACK, at=now)
    return record_report(order, order, EventKind.IGNORED, verdict.report, source=Source.CALLBACK, at=now)
