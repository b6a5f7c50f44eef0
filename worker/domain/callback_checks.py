"""What a callback does that is only a hint (`Trust.CHECK`): it makes its order due, and a query says what is true.

Whoever forges one gains a place in a query, and settles nothing. So that forged ones are no flood, each order is made
due once per re-query interval, and half a batch at most goes to such orders out of turn, as to requested checks.
"""

from dataclasses import replace
from datetime import datetime

from worker.domain.records.order_changes import Change, EventKind, OrderEvent
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source, gravest
from worker.domain.records.parameters import Rules
from worker.domain.records.reports import Report, TrafficStatus
from worker.domain.settlement import poll_again_now, settle
from worker.domain.verdicts import Verdict, judge

_RESULTS = (TrafficStatus.RECHARGED, TrafficStatus.FAILED)
_SHORTEST_INTERVAL_WINDOWS = 2


def check_by_callback(order: Order, report: Report, now: datetime, rules: Rules, *, app_id: str) -> Change:
    """Make an order due now where the callback reports a result: a pending one, and an unresolved one once more, which
    stays unresolved. Of any other order a contradiction raises `late_conflict`; all else is recorded only.

    After that no other callback makes the order due until it would have been due by itself, and for two windows at
    least. `app_id` is that of the order's account.
    """
    if not order.state.may_settle:
        echoes_price = order.account in rules.echoing_accounts
        verdict = judge(order, [report], app_id=app_id, polled_by=None, echoes_price=echoes_price)
        return _late_word(order, verdict, now)
    is_early = order.callback_check_after is not None and now < order.callback_check_after
    if report.fault or report.status not in _RESULTS or is_early:
        return Change(before=order, after=order)
    due = poll_again_now(Change(before=order, after=order), now).after
    after = replace(
        due,
        # A query of its own for one whose queries failed: it was given up as their cause, and is to spoil no batch.
        lane=Lane.ALONE if order.state is OrderState.UNRESOLVED and order.failures_alone else order.lane,
        check_requested_at=now,
        callback_check_after=max(order.due_at, now + rules.windows(_SHORTEST_INTERVAL_WINDOWS)),
    )
    return _recorded(Change(before=order, after=after), report, EventKind.CHECK_REQUESTED, now)


def _late_word(order: Order, verdict: Verdict, now: datetime) -> Change:
    """Said of an order that is final or cancelled: only a contradiction is shown to a person."""
    late = settle(order, verdict, source=Source.CALLBACK, now=now)
    if any(event.kind is EventKind.CONTRADICTED for event in late.events):
        return late
    if verdict.is_denial and order.state is not OrderState.FAILED:
        # A -1 that proves no failure contradicts a success all the same.
        shown = replace(order, attention=gravest(order.attention, Attention.LATE_CONFLICT))
        return _recorded(Change(before=order, after=shown), verdict.report, EventKind.CONTRADICTED, now)
    return _recorded(Change(before=order, after=order), verdict.report, EventKind.IGNORED, now)


def _recorded(change: Change, report: Report, kind: EventKind, now: datetime) -> Change:
    event = OrderEvent(
        order_id=change.after.id,
        at=now,
        kind=kind,
        source=Source.CALLBACK,
        from_state=change.before.state,
        to_state=change.after.state,
        traffic_sts=report.traffic_sts,
        remark=report.remark,
        ori_amount=report.ori_amount,
        detail=report.words,
    )
    return change.then(change.after, [event])
