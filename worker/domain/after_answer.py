"""What a readable answer does: to each order that was polled, and to what is known of the account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.absences import count_absence
from worker.domain.back_off import end_back_off
from worker.domain.contradictions import Contradiction, find_contradictions
from worker.domain.denials import count_denial
from worker.domain.echoes import learn_echo, names_no_order
from worker.domain.giving_up import give_up_if_too_old
from worker.domain.identity import shows_mobile
from worker.domain.one_item import learn_from_answer, with_probe
from worker.domain.outages import count_answer
from worker.domain.query_effects import QueryEffects
from worker.domain.records.accounts import AccountState
from worker.domain.records.order_keys import OrderKey
from worker.domain.records.orders import Attention, Change, EventKind, Lane, Order, Source
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query
from worker.domain.records.reports import Answer, IdKind, Report
from worker.domain.scheduling.ages import bucket_at
from worker.domain.scheduling.due_times import next_due
from worker.domain.scheduling.observing import observe_polls
from worker.domain.scheduling.poll_schedule import PollSchedule
from worker.domain.settlement import settle
from worker.domain.verdicts import Effect, Verdict, judge

_Said = Mapping[int, tuple[Report, ...]]
"""By order id: the items that speak of an asked order."""

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class _Asking:
    """An answered query, when its answer is applied, and by which rules."""

    query: Query
    answer: Answer
    schedule: PollSchedule
    now: datetime
    rules: Rules
    state: AccountState
    """The account's, before the answer."""
    said: _Said
    contradictions: Mapping[int, Contradiction]
    verdicts: Mapping[int, Verdict]
    """By order id: of each order that the query still holds and that an item speaks of."""

    settled_meanwhile: bool
    """Whether an item would be believed of an order that the query polled and no longer holds."""

    def believed(self) -> set[int]:
        """The held orders of which an item was believed."""
        return {order_id for order_id, verdict in self.verdicts.items() if verdict.is_believed}

    @property
    def shows_knowledge(self) -> bool:
        """Whether the answer shows that the platform knows orders: denials count beside such an answer."""
        return self.settled_meanwhile or bool(self.believed())


def names_besides(query: Query, answer: Answer) -> list[OrderKey]:
    """The names that an answer's items give besides those of the orders that the query polled."""
    # Several items for one id settle nothing anyway, so a hostile answer's thousands need not all be looked up.
    spoken_of = [report for reports in answer.said.values() for report in reports[:_MOST_NAMED]]
    if query.is_alone:
        spoken_of.extend(answer.added[:_MOST_NAMED])
    named = {(IdKind.REQUEST_ID, report.request_id) for report in spoken_of}
    named |= {(IdKind.CUSTOM_PARM, report.custom_parm) for report in spoken_of}
    named -= {(kind, order.key.id_of(kind)) for order in query.orders for kind in IdKind}
    return [OrderKey(account=query.account).with_id(kind, name) for kind, name in named if name is not None]


def after_answer(
    query: Query,
    answer: Answer,
    orders: Sequence[Order],
    state: AccountState,
    *,
    schedule: PollSchedule,
    now: datetime,
    rules: Rules,
) -> QueryEffects:
    """Decide what an answer does.

    `orders` are rows of the account as they stand now: all that were polled, and all that an item names besides.
    `prices` say when an order that is still open is due again.
    """
    said = _said_by_order(query, answer)
    contradictions = find_contradictions(said, orders)
    held = [order for order in orders if query.holds(order)]
    judged = {order.id: _judge(order, said[order.id], contradictions, query) for order in orders if order.id in said}
    verdicts = {order.id: judged[order.id] for order in held if order.id in judged}
    others = any(verdict.is_believed for order_id, verdict in judged.items() if order_id not in verdicts)
    asking = _Asking(query, answer, schedule, now, rules, state, said, contradictions, verdicts, others)
    learned = _success(asking)
    learned = learn_echo(learned, query, answer, now, rules, has_believed_echo=_has_believed_echo(held, asking))
    learned, reset_absences_since = learn_from_answer(learned, query, answer, now, rules)
    learned, returned = count_answer(learned, now, rules)
    changes = [_change(order, learned, asking) for order in orders]
    believed = asking.believed()
    return QueryEffects(
        state=learned,
        changes=tuple(with_probe(changes, learned, query, answer, now)),
        tightens_slot=True,
        reset_absences_since=reset_absences_since,
        return_suspects=returned,
        absent=sum(order.id not in said for order in query.orders),
        pending=sum(change.after.id in said and not change.after.state.is_final for change in changes),
        observations=observe_polls([change for change in changes if change.after.id in believed], query.sent_at, rules),
    )


def _said_by_order(query: Query, answer: Answer) -> _Said:
    said = {order.id: answer.said[order.polled_id] for order in query.orders if order.polled_id in answer.said}
    if query.id_kind is IdKind.CUSTOM_PARM and query.is_alone and not said:
        # The page does not promise that customParm comes back. The order's mobile then vouches for a lone item.
        nameless = tuple(report for report in answer.added if report.custom_parm is None)
        if nameless:
            said[query.orders[0].id] = nameless
    return said


def _judge(
    order: Order, reports: tuple[Report, ...], contradictions: Mapping[int, Contradiction], query: Query
) -> Verdict:
    contradiction = contradictions.get(order.id)
    reason = contradiction.beside(reports) if contradiction else None
    verdict = judge(order, reports, app_id=query.app_id, polled_by=query.id_kind, contradiction=reason)
    if verdict.effect is Effect.NONE or not _is_guess(order, reports[0], query):
        return verdict
    return Verdict(
        effect=Effect.NONE,
        report=reports[0],
        attention=Attention.CONFLICTING_ANSWER,
        reason="an item without customParm settles a lone order only with the order's mobile",
    )


def _has_believed_echo(held: Sequence[Order], asking: _Asking) -> bool:
    believed = asking.believed()
    return any(
        order.id in believed and asking.verdicts[order.id].report.custom_parm == order.custom_parm is not None
        for order in held
    )


def _change(order: Order, learned: AccountState, asking: _Asking) -> Change:
    """What the answer does to one order. `learned` is the account's state after it."""
    query, answer, now, rules = asking.query, asking.answer, asking.now, asking.rules
    reports, contradiction = asking.said.get(order.id, ()), asking.contradictions.get(order.id)
    if not query.holds(order):
        return _leave_alone(order, reports, contradiction, query, now)
    if names_no_order(query, answer):
        # None of the batch was polled in truth: each is due as before, however old it is.
        group = bucket_at(order.submitted_at, order.queried_at, rules)
        return _answered(order, replace(query.as_before(order).out_of_suspicion(), age_bucket=group), query, now)
    if reports:
        change = _apply_said(order, learned, asking)
    else:
        absent = count_absence(_polled(order, asking), query, answer, asking.state, now)
        change = _flag_conflict(absent, contradiction, query, now)
    # A platform that answers one order a query has said nothing of the others, however old they are. Three absences
    # lead to a query about the order alone, so this ends.
    if reports or query.is_alone or len(answer.said) != 1:
        change = give_up_if_too_old(change, query, now, rules, "asked past the age limit, without a result")
    return change


def _polled(order: Order, asking: _Asking) -> Change:
    """The marks that any answered query leaves on an order that it polled."""
    query, now, rules = asking.query, asking.now, asking.rules
    # Compared with what stood there at the grant, not with a time: a clock may have been ahead at the request.
    served = {polled.id: polled.check_requested_at for polled in query.orders}
    checked_again = order.check_requested_at is not None and order.check_requested_at != served[order.id]
    after = replace(
        order.out_of_suspicion(),
        lease_token=None,
        queried_at=query.sent_at,
        query_count=order.query_count + 1,
        age_bucket=bucket_at(order.submitted_at, query.sent_at, rules),
        due_at=now if checked_again else next_due(order.submitted_at, asking.schedule, now, rules),
        check_requested_at=order.check_requested_at if checked_again else None,
    )
    return _answered(order, after, query, now)


def _answered(order: Order, after: Order, query: Query, now: datetime) -> Change:
    change = Change(before=order, after=after)
    if not order.lane.is_suspect:
        return change
    return change.then(after, [query.event(order, after, EventKind.CLEARED, now, "its group was answered")])


def _apply_said(order: Order, learned: AccountState, asking: _Asking) -> Change:
    """What items do to their order."""
    query, now, verdict = asking.query, asking.now, asking.verdicts[order.id]
    change = _polled(order, asking)
    heard = replace(change.after, absences=0, absence_mark=0, lane=Lane.BATCH)
    settled = settle(heard, verdict, source=Source.QUERY, now=now, query_id=query.id)
    change = change.then(settled.after, settled.events)
    if not verdict.is_denial:
        return change
    return count_denial(
        change,
        query,
        now,
        asking.rules,
        others_believed=asking.shows_knowledge,
        answers_before=asking.state.answered_with_belief,
        answers_now=learned.answered_with_belief,
    )


def _is_guess(order: Order, report: Report, query: Query) -> bool:
    """Whether nothing but its place ties an item to the order: neither the id asked for nor the order's mobile."""
    if query.id_kind is IdKind.REQUEST_ID or report.custom_parm is not None:
        return False
    return order.mobile is None or not shows_mobile(report.mobile, order.mobile)


def _leave_alone(
    order: Order, reports: tuple[Report, ...], contradiction: Contradiction | None, query: Query, now: datetime
) -> Change:
    """An order that is not this query's, or no longer: what contradicts it is shown, anything else only recorded."""
    change = Change(before=order, after=order)
    if contradiction or not reports:
        return _flag_conflict(change, contradiction, query, now)
    verdict = judge(order, reports, app_id=query.app_id, polled_by=query.id_kind)
    if not order.state.may_settle and not (verdict.effect is not Effect.NONE and _is_guess(order, reports[0], query)):
        return settle(order, verdict, source=Source.QUERY, now=now, query_id=query.id)
    detail = f"the order is no longer this query's: {', '.join(report.words for report in reports)}"
    return change.then(order, [query.event(order, order, EventKind.IGNORED, now, detail)])


def _flag_conflict(change: Change, contradiction: Contradiction | None, query: Query, now: datetime) -> Change:
    """Show that an item which speaks of another order gives it this one's id."""
    if contradiction is None:
        return change
    flagged = settle(change.after, contradiction.verdict, source=Source.QUERY, now=now, query_id=query.id)
    return change.then(flagged.after, flagged.events)


def _success(asking: _Asking) -> AccountState:
    query, state = asking.query, asking.state
    by_request_id = query.id_kind is IdKind.REQUEST_ID
    return replace(
        state if _backed_off_since(state, query) else end_back_off(state),
        answered_with_items=state.answered_with_items + bool(asking.answer.item_count),
        answered_with_belief=state.answered_with_belief + asking.shows_knowledge,
        answered_by_request_id=state.answered_by_request_id + by_request_id,
        answered_by_custom_parm=state.answered_by_custom_parm + (not by_request_id),
    )


def _backed_off_since(state: AccountState, query: Query) -> bool:
    """Whether the back-off began after the query was sent: then its answer is older news, of another slot."""
    if state.backoff_until is None:
        return False
    return state.backoff_until - timedelta(seconds=state.backoff_seconds) > query.sent_at
