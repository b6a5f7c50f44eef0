"""What a readable answer does: to each order that was asked about, and to what is known of the account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.absences import count_absence
from worker.domain.accounts import AccountState, end_back_off
from worker.domain.contradictions import Contradiction, find_contradictions
from worker.domain.giving_up import give_up_if_too_old
from worker.domain.identity import masked_mobile_may_be
from worker.domain.one_item import is_one_item_answer, learn_from_answer, with_probe
from worker.domain.orders import Attention, Change, EventKind, Lane, Order, Source
from worker.domain.pricing.ages import group_of
from worker.domain.pricing.due import next_due
from worker.domain.pricing.noting import note_looks
from worker.domain.pricing.prices import Prices
from worker.domain.queries import Aftermath, Query
from worker.domain.reports import Answer, IdKind, Report
from worker.domain.rules import Rules
from worker.domain.settlement import settle
from worker.domain.verdicts import Effect, Verdict, judge

_Said = Mapping[int, tuple[Report, ...]]
"""By order id: the items that speak of an asked order."""
_BELIEVED = frozenset({Effect.PENDING, Effect.SUCCEEDED, Effect.FAILED})


@dataclass(frozen=True, slots=True)
class _Asking:
    """An answered query, when its answer is applied, and by which rules."""

    query: Query
    prices: Prices
    now: datetime
    rules: Rules


def after_answer(
    query: Query,
    answer: Answer,
    orders: Sequence[Order],
    state: AccountState,
    *,
    prices: Prices,
    now: datetime,
    rules: Rules,
) -> Aftermath:
    """Decide what an answer does.

    `orders` are rows of the account as they stand now: all that were asked about, and all that an item names besides.
    `prices` say when an order that is still open is due again.
    """
    asking = _Asking(query, prices, now, rules)
    said = _said_by_order(query, answer, state)
    contradictions = find_contradictions(said, orders)
    learned, forgive_since = learn_from_answer(_success(state, query, answer, said), query, answer, now, rules)
    changes, believed = [], []
    for order in orders:
        reports, contradiction = said.get(order.id, ()), contradictions.get(order.id)
        if not query.holds(order):
            changes.append(_leave_alone(order, reports, contradiction, query, now))
            continue
        if reports:
            change, is_believed = _apply_said(order, reports, contradiction, asking)
            if is_believed:
                believed.append(change)
        else:
            absent = count_absence(_asked(order, asking), query, answer, state, now)
            change = _blame(absent, contradiction, query, now)
        # A platform that answers one order a query has said nothing of the others, however old they are.
        if reports or not is_one_item_answer(query, answer):
            change = give_up_if_too_old(change, query, now, rules, "asked past the age limit, without a result")
        changes.append(change)
    return Aftermath(
        state=learned,
        changes=tuple(with_probe(changes, learned, query, answer, now)),
        tightens_slot=True,
        forgive_since=forgive_since,
        absent=sum(order.id not in said for order in query.orders),
        pending=sum(change.after.id in said and not change.after.state.is_final for change in changes),
        notes=note_looks(believed, query.sent_at, rules),
    )


def _said_by_order(query: Query, answer: Answer, state: AccountState) -> _Said:
    said = {order.id: answer.said[order.asked_id] for order in query.orders if order.asked_id in answer.said}
    is_blind = query.id_kind is IdKind.CUSTOM_PARM and query.is_alone and not state.echoes_custom_parm
    if is_blind and not said and any(report.custom_parm is None for report in answer.added):
        said[query.orders[0].id] = answer.added
    return said


def _asked(order: Order, asking: _Asking) -> Change:
    """The marks that any answered query leaves on an order that it asked about."""
    query, now, rules = asking.query, asking.now, asking.rules
    asked_again = order.check_requested_at is not None and order.check_requested_at > query.sent_at
    after = replace(
        order,
        lease_token=None,
        queried_at=query.sent_at,
        query_count=order.query_count + 1,
        look_group=group_of((query.sent_at - order.submitted_at).total_seconds(), rules),
        due_at=now if asked_again else next_due(order.submitted_at, asking.prices, now, rules),
        check_requested_at=order.check_requested_at if asked_again else None,
        lane=Lane.BATCH if order.lane is Lane.SUSPECT else order.lane,
        suspect_group=None,
        bad_ends=0,
        failures_alone=0,
        failure_mark=0,
    )
    change = Change(before=order, after=after)
    if order.lane is not Lane.SUSPECT:
        return change
    return change.then(after, [query.event(order, after, EventKind.CLEARED, now, "its group was answered")])


def _apply_said(
    order: Order, reports: tuple[Report, ...], contradiction: Contradiction | None, asking: _Asking
) -> tuple[Change, bool]:
    """What items do to their order, and whether they were believed."""
    query = asking.query
    change = _asked(order, asking)
    heard = replace(change.after, absences=0, absence_mark=0, lane=Lane.BATCH)
    reason = contradiction.beside(reports) if contradiction else None
    verdict = judge(order, reports, app_id=query.app_id, contradiction=reason)
    if verdict.effect is not Effect.NONE and _is_guess(order, reports[0], query):
        verdict = Verdict(
            effect=Effect.NONE,
            report=reports[0],
            attention=Attention.CONFLICTING_ANSWER,
            reason="an item without customParm settles a lone order only with the order's mobile",
        )
    settled = settle(heard, verdict, source=Source.QUERY, now=asking.now, query_id=query.id)
    return change.then(settled.after, settled.events), verdict.effect in _BELIEVED


def _is_guess(order: Order, report: Report, query: Query) -> bool:
    """Whether nothing but its place ties an item to the order: neither the id asked for nor the order's mobile."""
    if query.id_kind is IdKind.REQUEST_ID or report.custom_parm is not None:
        return False
    shows_digits = any(character.isdigit() for character in report.mobile or "")
    return not (shows_digits and order.mobile and masked_mobile_may_be(report.mobile or "", order.mobile))


def _leave_alone(
    order: Order, reports: tuple[Report, ...], contradiction: Contradiction | None, query: Query, now: datetime
) -> Change:
    """An order that is not this query's, or no longer: what contradicts it is shown, anything else only recorded."""
    change = Change(before=order, after=order)
    if contradiction or not reports:
        return _blame(change, contradiction, query, now)
    verdict = judge(order, reports, app_id=query.app_id)
    if not order.state.may_settle and not (verdict.effect is not Effect.NONE and _is_guess(order, reports[0], query)):
        return settle(order, verdict, source=Source.QUERY, now=now, query_id=query.id)
    detail = f"the order is no longer this query's: {', '.join(report.words for report in reports)}"
    return change.then(order, [query.event(order, order, EventKind.IGNORED, now, detail)])


def _blame(change: Change, contradiction: Contradiction | None, query: Query, now: datetime) -> Change:
    """Show that an item which speaks of another order gives it this one's id."""
    if contradiction is None:
        return change
    blamed = settle(change.after, contradiction.verdict, source=Source.QUERY, now=now, query_id=query.id)
    return change.then(blamed.after, blamed.events)


def _success(state: AccountState, query: Query, answer: Answer, said: _Said) -> AccountState:
    by_request_id = query.id_kind is IdKind.REQUEST_ID
    echoed = any(
        order.custom_parm is not None and report.custom_parm == order.custom_parm
        for order in query.orders
        for report in said.get(order.id, ())
    )
    return replace(
        state if _backed_off_since(state, query) else end_back_off(state),
        echoes_custom_parm=state.echoes_custom_parm or echoed,
        answered_with_items=state.answered_with_items + bool(answer.item_count),
        answered_by_request_id=state.answered_by_request_id + by_request_id,
        answered_by_custom_parm=state.answered_by_custom_parm + (not by_request_id),
    )


def _backed_off_since(state: AccountState, query: Query) -> bool:
    """Whether the back-off began after the query was sent: then its answer is older news, of another slot."""
    if state.backoff_until is None:
        return False
    return state.backoff_until - timedelta(seconds=state.backoff_seconds) > query.sent_at
