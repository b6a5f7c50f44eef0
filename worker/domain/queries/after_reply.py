"""Decide what a readable answer changes: the orders, and what we know about the account.

`QueryEffects` also describes what a query failure changes (`worker.domain.queries.after_failure`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from worker.domain.accounts.platform_habits import (
    learn_echo,
    learn_one_item,
    names_no_order,
    with_probe,
)
from worker.domain.accounts.waits import count_answer, end_back_off
from worker.domain.orders.settlement import count_absence, count_denial, give_up_if_too_old, settle
from worker.domain.queries.reply_items import AnswerContext
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Answer
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import IdKind, Order, OrderState, Source
from worker.domain.records.queries import Query
from worker.domain.scheduling.ages_and_observations import Observations, bucket_at, observe_polls
from worker.domain.scheduling.poll_schedule import PollSchedule, next_due


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryEffects:
    """The changes that an answer or a query failure makes to the account, the orders, the slot and the observations."""

    state: AccountState
    changes: tuple[Change, ...] = ()
    tightens_slot: bool = False
    """Whether the slot opens one window from now, instead of when the reservation ends."""
    backs_off_whole_sid: bool = False
    """Whether every account of the account SID backs off."""
    reset_absences_since: int | None = None
    """The id of the first query of a run of one-item answers; None if no absence is reset. The orders that one-item
    answers left out since that query were not absent after all, and become due at once."""
    return_suspects: tuple[int, int] | None = None
    """The numbers of the first and the last suspect group that an outage made; None if no suspect returns. The suspects
    of these groups, and of all groups between, return to the batches."""
    absent: int = 0
    """How many polled orders the answer left out."""
    pending: int = 0
    """How many polled orders have an item in the answer and are still not final."""
    observations: Observations = field(default_factory=Observations)
    """What the answer shows about the ages at which orders settle."""

    @property
    def settled(self) -> int:
        """How many orders became final."""
        return sum(change.settles for change in self.changes)


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
    """Decide what an answer changes.

    `orders` are the current rows of all polled orders, and of all other orders of the account that an item names.
    `schedule` says when an order that is still open is due again.
    """
    context = AnswerContext(
        query=query, answer=answer, orders=orders, state=state, schedule=schedule, now=now, rules=rules
    )
    learned, reset_absences_since, return_suspects = learn_about_account(context)
    changes = [decide(order, context) for order in orders]
    believed = {order.id for order in context.believed}
    return QueryEffects(
        state=learned,
        changes=tuple(with_probe(changes, learned, query, answer, now)),
        tightens_slot=True,
        reset_absences_since=reset_absences_since,
        return_suspects=return_suspects,
        absent=sum(order.id not in context.items for order in query.orders),
        pending=sum(change.after.id in context.items and not change.after.state.is_final for change in changes),
        observations=observe_polls([change for change in changes if change.after.id in believed], query.sent_at, rules),
    )


def decide(order: Order, context: AnswerContext) -> Change:
    """Decide what an answer changes in one order. The first case below that applies decides."""
    if not context.query.holds(order):
        return _only_record(order, context)
    if names_no_order(context.query, context.answer):
        return _leave_due_as_before(order, context)
    if order.id in context.items:
        return _apply_items(order, context)
    return _count_as_left_out(order, context)


def _only_record(order: Order, context: AnswerContext) -> Change:
    """Record what an answer says about an order that the query does not hold, or no longer holds. Its state stays as it
    is."""
    query, reports = context.query, context.items.get(order.id, ())
    if order.id in context.contradictions or not reports:
        return _flag_contradiction(Change.none(order), context)
    if not order.state.may_settle and not context.lacks_proof(order):
        return settle(order, context.verdicts[order.id], source=Source.QUERY, now=context.now, query_id=query.id)
    detail = CodedText(TextCode.NOT_HELD, said=", ".join(report.words for report in reports))
    return query.record(Change.none(order), order, EventKind.IGNORED, context.now, detail)


def _leave_due_as_before(order: Order, context: AnswerContext) -> Change:
    """Make the order due as before the query, however old it is: the answer names no order of the batch, so none was
    polled."""
    bucket = bucket_at(order.submitted_at, order.queried_at, context.rules)
    after = replace(context.query.as_before(order).out_of_suspicion(), age_bucket=bucket)
    return _cleared(order, after, context)


def _apply_items(order: Order, context: AnswerContext) -> Change:
    """Apply the items of the answer that are about the order."""
    query, now, verdict = context.query, context.now, context.verdicts[order.id]
    polled = _polled(order, context)
    settled = settle(polled.after.not_absent(), verdict, source=Source.QUERY, now=now, query_id=query.id)
    change = polled.then(settled.after, settled.events)
    # Denials of an unresolved order do not count: it was given up before, and this poll can only settle it.
    if verdict.is_denial and order.state is OrderState.PENDING:
        change = count_denial(
            change,
            query,
            now,
            context.rules,
            others_believed=context.shows_knowledge,
            answers_before=context.state.answered_with_belief,
            answers_now=context.answers_with_belief,
        )
    return _give_up_if_too_old(change, context)


def _count_as_left_out(order: Order, context: AnswerContext) -> Change:
    """Count that the answer leaves the order out. An item of another order may still flag a contradiction."""
    query, answer = context.query, context.answer
    change = _polled(order, context)
    if order.state is OrderState.PENDING:
        change = count_absence(change, query, answer, context.state, context.now, context.rules)
    change = _flag_contradiction(change, context)
    # A platform that answers only one order of each query says nothing about the others, so these are not given up
    # here, however old they are. After three absences, an order gets a query of its own, which can give it up.
    answers_one_of_many = len(answer.said) == 1 and not query.is_alone
    return change if answers_one_of_many else _give_up_if_too_old(change, context)


def _polled(order: Order, context: AnswerContext) -> Change:
    """The change that every answered query makes to an order that it polled."""
    query, now, rules = context.query, context.now, context.rules
    requested_at = query.requested_since(order)
    due_at = next_due(order.submitted_at, context.schedule, now, rules)
    if requested_at is not None:
        # The schedule does not apply to an unresolved order: it is polled only because a check was requested.
        later = max(now, requested_at)
        due_at = later if order.state is OrderState.UNRESOLVED else min(due_at, later)
    after = replace(
        order.out_of_suspicion(),
        lease_token=None,
        queried_at=query.sent_at,
        query_count=order.query_count + 1,
        age_bucket=bucket_at(order.submitted_at, query.sent_at, rules),
        due_at=due_at,
        check_requested_at=requested_at,
    )
    return _cleared(order, after, context)


def _cleared(order: Order, after: Order, context: AnswerContext) -> Change:
    """The change of an order to `after` once its query was answered. If the order was a suspect, record that it is
    cleared."""
    if not order.lane.is_suspect:
        return Change(before=order, after=after)
    why = CodedText(TextCode.GROUP_ANSWERED)
    return context.query.record(Change.none(order), after, EventKind.CLEARED, context.now, why)


def _flag_contradiction(change: Change, context: AnswerContext) -> Change:
    """Flag the order if an item of another order carries this order's id."""
    contradiction = context.contradictions.get(change.after.id)
    if contradiction is None:
        return change
    query, now = context.query, context.now
    flagged = settle(change.after, contradiction.verdict, source=Source.QUERY, now=now, query_id=query.id)
    return change.then(flagged.after, flagged.events)


def _give_up_if_too_old(change: Change, context: AnswerContext) -> Change:
    return give_up_if_too_old(change, context.query, context.now, context.rules)


def learn_about_account(context: AnswerContext) -> tuple[AccountState, int | None, tuple[int, int] | None]:
    """Return the account's state after an answer, and how the answer changes orders that it does not name.

    The second and third value are `reset_absences_since` and `return_suspects` of `QueryEffects`.
    """
    query, answer, now, rules = context.query, context.answer, context.now, context.rules
    state = _count_answer(context)
    state = learn_echo(state, query, answer, now, rules, has_believed_echo=context.has_believed_echo)
    state, reset_absences_since = learn_one_item(state, query, answer, now, rules)
    state, return_suspects = count_answer(state, now, rules)
    return state, reset_absences_since, return_suspects


def _count_answer(context: AnswerContext) -> AccountState:
    query, state = context.query, context.state
    by_request_id = query.id_kind is IdKind.REQUEST_ID
    return replace(
        state if _backed_off_since(state, query) else end_back_off(state),
        answered_with_items=state.answered_with_items + bool(context.answer.item_count),
        answered_with_belief=context.answers_with_belief,
        answered_by_request_id=state.answered_by_request_id + by_request_id,
        answered_by_custom_parm=state.answered_by_custom_parm + (not by_request_id),
    )


def _backed_off_since(state: AccountState, query: Query) -> bool:
    """Whether the back-off began after the query was sent. With several slots, another query may have failed
    meanwhile."""
    if state.backoff_until is None:
        return False
    return state.backoff_until - timedelta(seconds=state.backoff_seconds) > query.sent_at
