"""What a callback does that is only a hint (`Trust.CHECK`): it makes its order due, and a query says what is true.

Whoever forges one gains a place in a query, and settles nothing. So that forged ones are no flood, each order is made
due once per re-query interval, and half a batch at most goes to such orders out of turn, as to requested checks.
"""

from dataclasses import replace
from datetime import datetime

from worker.domain.records.order_changes import Change, EventKind, OrderEvent
from worker.domain.records.orders import Order, OrderState, Source
from worker.domain.records.parameters import Rules
from worker.domain.records.reports import Report, TrafficStatus
from worker.domain.settlement import poll_again_now

_RESULTS = (TrafficStatus.RECHARGED, TrafficStatus.FAILED)
_SHORTEST_INTERVAL_WINDOWS = 2


def check_by_callback(order: Order, report: Report, now: datetime, rules: Rules) -> Change:
    """Make a pending order due now where the callback reports a result; of an order that is not pending record it.

    After that no other callback makes the order due until it would have been due by itself, and for two windows at
    least.
    """
    if order.state is not OrderState.PENDING:
        return _recorded(Change(before=order, after=order), report, EventKind.IGNORED, now)
    is_early = order.callback_check_after is not None and now < order.callback_check_after
    if report.fault or report.status not in _RESULTS or is_early:
        return Change(before=order, after=order)
    due = poll_again_now(Change(before=order, after=order), now).after
    after = replace(
        due,
        check_requested_at=now,
        callback_check_after=max(order.due_at, now + rules.windows(_SHORTEST_INTERVAL_WINDOWS)),
    )
    return _recorded(Change(before=order, after=after), report, EventKind.CHECK_REQUESTED, now)


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
