"""What a verdict changes of its order. By what the platform says an order becomes final here alone; by an operator's
word in `worker.domain.orders.operator_acts` alone."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from worker.domain.orders.verdicts import Effect, Verdict
from worker.domain.records.accounts import Rules
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source, gravest
from worker.domain.wire.fields import id_fault, names_a_row

_STATE = {Effect.SUCCEEDED: OrderState.SUCCEEDED, Effect.FAILED: OrderState.FAILED}

_UNRESOLVED_INTERVAL_WINDOWS = 10

# A result removes these reasons: each says only that a result was missing.
_EXPLAINED_BY_A_RESULT = frozenset(
    {Attention.UNKNOWN_STATUS, Attention.UNKNOWN_TO_PLATFORM, Attention.REJECTED_BY_PLATFORM, Attention.TOO_OLD}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _SourcedVerdict:
    """A verdict, with where it came from and when."""

    verdict: Verdict
    source: Source
    now: datetime
    query_id: int | None

    def change(self, before: Order, after: Order, kind: EventKind) -> Change:
        """A change of the order, with an event that holds the item as JSON."""
        report, reason = self.verdict.report, self.verdict.reason
        return Change.none(before).record(
            after,
            kind,
            source=self.source,
            at=self.now,
            query_id=self.query_id,
            traffic_sts=report.traffic_sts,
            remark=report.remark,
            ori_amount=report.ori_amount,
            detail=reason.having(said=report.words) if reason else report.words,
        )


def settle(order: Order, verdict: Verdict, *, source: Source, now: datetime, query_id: int | None = None) -> Change:
    """Apply a verdict. A final or cancelled order never changes its state, traffic_sts, remark or ori_amount."""
    sourced = _SourcedVerdict(verdict=verdict, source=source, now=now, query_id=query_id)
    if verdict.effect is Effect.NONE:
        change = sourced.change(order, _shown_to_a_person(order, verdict.attention), EventKind.NOT_BELIEVED)
        return _due_now(change, now) if verdict.is_due_now and order.state is OrderState.PENDING else change
    if not order.state.may_settle:
        return _compare_with_final(order, sourced)
    if verdict.effect is Effect.DUE_NOW:
        change = sourced.change(order, order, EventKind.NOT_BELIEVED)
        return _due_now(change, now) if order.state is OrderState.PENDING else change
    named = order.with_request_id(_storable_id(verdict.report.request_id))
    if verdict.effect is Effect.PENDING:
        reported = replace(named.not_denied(), **_said(verdict))
        is_new = reported != order
        return sourced.change(order, reported, EventKind.REPORTED) if is_new else Change.none(order)
    return sourced.change(order, _final(named, verdict, source, now), EventKind.SETTLED)


def poll_again_now(order: Order, now: datetime) -> Order:
    """Make an order due now. Where a query for it is under way, have it polled again afterwards."""
    if order.is_leased(now):
        return replace(order, check_requested_at=now)
    return replace(order, due_at=min(order.due_at, now))


def unresolved_again_at(polled_at: datetime, rules: Rules) -> datetime:
    """When a callback may have an unresolved order polled that was polled at this time."""
    return polled_at + rules.windows(_UNRESOLVED_INTERVAL_WINDOWS)


def poll_unresolved_at(order: Order, at: datetime) -> Order:
    """Have an unresolved order polled once more, from this time on."""
    # A query of its own for one whose queries failed: it was given up as their cause, and must not spoil a batch.
    return replace(order, due_at=at, check_requested_at=at, lane=Lane.ALONE if order.failures_alone else order.lane)


def _due_now(change: Change, now: datetime) -> Change:
    return change.then(poll_again_now(change.after, now))


def _said(verdict: Verdict) -> dict[str, Any]:
    """The order's fields that take the values of a believed item."""
    return {
        "traffic_sts": verdict.report.status,
        "remark": verdict.report.remark,
        "ori_amount": verdict.amount,
    }


def _final(order: Order, verdict: Verdict, source: Source, now: datetime) -> Order:
    return order.no_longer_polled(
        _STATE[verdict.effect],
        **_said(verdict),
        amount_is_price=verdict.amount_is_price,
        settled_by=source,
        settled_at=now,
        attention=gravest(_attention_left(order, verdict), verdict.attention),
    )


def _storable_id(request_id: str | None) -> str | None:
    """The id that an order may learn from an item; the event keeps what was said in any case."""
    return None if request_id is None or id_fault(request_id) or names_a_row(request_id) else request_id


def _shown_to_a_person(order: Order, attention: Attention | None) -> Order:
    return replace(order, attention=gravest(order.attention, attention))


def _compare_with_final(order: Order, sourced: _SourcedVerdict) -> Change:
    if not _contradicts(order, sourced.verdict):
        return sourced.change(order, order, EventKind.IGNORED)
    return sourced.change(order, _shown_to_a_person(order, Attention.LATE_CONFLICT), EventKind.CONTRADICTED)


def _contradicts(order: Order, verdict: Verdict) -> bool:
    if verdict.effect is Effect.PENDING:
        return False
    # A success whose amount is still missing is a result, too.
    result = OrderState.SUCCEEDED if verdict.effect is Effect.DUE_NOW else _STATE[verdict.effect]
    if order.state is not result:
        return True
    # A failed order may be reported without an amount: then nothing was charged.
    if verdict.amount is None or verdict.amount == (order.ori_amount or 0):
        return False
    # A price that is repeated, and no amount at all, both say that nothing was charged.
    return verdict.charged_amount != order.charged_amount


def _attention_left(order: Order, verdict: Verdict) -> Attention | None:
    """The attention reason that stays once the order settles."""
    if order.attention in _EXPLAINED_BY_A_RESULT:
        return None
    if order.attention is Attention.MOBILE_MISMATCH and verdict.report.mobile:
        # The verdict found that this item's number is the order's.
        return None
    return order.attention
