"""Decide what a query failure changes: the account, and the orders that may be the cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from types import MappingProxyType

from worker.domain.accounts.waits import back_off, count_failure, group_number, wait_a_window, wait_for_configuration
from worker.domain.orders.settlement import give_up, is_past_age_limit, poll_unresolved_at, unresolved_again_at
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import HttpError, NotSent, QueryError, Refused, Unreachable
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Lane, Order, OrderState
from worker.domain.records.queries import Query
from worker.domain.scheduling.poll_schedule import PollSchedule, next_due

REFUSALS_BEFORE_BACKOFF = 3
BATCH_FAILURES_BEFORE_SUSPICION = 2
UNAVAILABLE_BEFORE_SUSPICION = 10
FAILURES_ALONE_BEFORE_GIVING_UP = 3

_CONFIGURATION_CODE = "-205"
# While a platform or gateway accepts no query at all, it sends one of these statuses. Any other status may come from
# the characters of an id in the query.
_UNAVAILABLE_STATUSES = frozenset({401, 429, 503})
_TOO_FREQUENT = ("频繁", "频率", "too frequent", "too many requests", "rate limit")


class QueryFailureKind(Enum):
    """The kinds of query failure that are handled differently. Several kinds may have one outcome in the query's
    row."""

    REFUSED = auto()
    TOO_FREQUENT = auto()
    """The platform says that it is queried too often."""
    CONFIGURATION = auto()
    """The platform refuses the application."""
    UNREADABLE = auto()
    UNAVAILABLE = auto()
    UNREACHABLE = auto()
    """There was no connection, so the batch is not the cause."""
    HOST_REFUSED = auto()
    """The platform refuses this host, and another host polls the account, so the batch is not the cause."""
    UNSENT = auto()


class Blame(Enum):
    """Whether this host may be the cause of a query failure."""

    NONE = auto()
    DOUBTED = auto()
    """The platform may refuse this host, so another host polls the orders next."""
    REFUSED = auto()
    """The platform refuses this host. Another host, which the platform does not refuse, polls the account."""


MAKE_SUSPECTS: Mapping[QueryFailureKind, CodedText] = MappingProxyType(
    {
        QueryFailureKind.REFUSED: CodedText(TextCode.BATCH_REFUSED),
        QueryFailureKind.UNREADABLE: CodedText(TextCode.BATCH_UNREADABLE),
        QueryFailureKind.UNAVAILABLE: CodedText(TextCode.BATCH_UNAVAILABLE),
    }
)
"""The kinds of query failure that make suspects of the polled orders, and the reason that is recorded for each kind.

REFUSED makes an order a suspect at once, UNREADABLE at the second failure of this kind in a row, UNAVAILABLE at the
tenth in a row.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureContext:
    """A failed query, the kind of the failure, and what is known about the account."""

    query: Query
    error: QueryError
    kind: QueryFailureKind
    state: AccountState
    """The account's state before the failure."""
    schedule: PollSchedule
    now: datetime
    rules: Rules
    blame: Blame


def failure_kind_of(error: QueryError) -> QueryFailureKind:
    """The failure kind of an error."""
    match error:
        case Refused():
            if says_too_frequent(error.status_msg):
                return QueryFailureKind.TOO_FREQUENT
            return (
                QueryFailureKind.CONFIGURATION if error.status_code == _CONFIGURATION_CODE else QueryFailureKind.REFUSED
            )
        case NotSent():
            return QueryFailureKind.UNSENT
        case Unreachable():
            return QueryFailureKind.UNREACHABLE
        case HttpError() if error.http_status in _UNAVAILABLE_STATUSES:
            return QueryFailureKind.UNAVAILABLE
        case _:
            return QueryFailureKind.UNREADABLE


def says_too_frequent(status_msg: str) -> bool:
    """Whether a refusal's message says that queries come too often. The platform publishes no code for this refusal."""
    message = status_msg.casefold()
    return any(words in message for words in _TOO_FREQUENT)


def after_query_failure(
    query: Query,
    error: QueryError,
    orders: Sequence[Order],
    state: AccountState,
    *,
    schedule: PollSchedule,
    now: datetime,
    rules: Rules,
    jitter: float,
    blame: Blame = Blame.NONE,
) -> QueryEffects:
    """Decide what a failed query changes. `orders` are the current rows of the polled orders; `jitter` is 0 to 1."""
    kind = QueryFailureKind.HOST_REFUSED if blame is Blame.REFUSED else failure_kind_of(error)
    context = FailureContext(
        query=query, error=error, kind=kind, state=state, schedule=schedule, now=now, rules=rules, blame=blame
    )
    suspected: list[Change] = []
    spared: list[Change] = []
    for order in orders:
        if query.holds(order):
            after, is_suspected = decide(order, context)
            if is_suspected and order.state is OrderState.UNRESOLVED:
                is_suspected = False
                # If the platform may refuse this host, the order stays due, so that another host polls it.
                if blame is not Blame.DOUBTED:
                    after = _polled_no_more(after, context)
            (suspected if is_suspected else spared).append(Change(before=order, after=after))
    return QueryEffects(
        state=_account_after(context, jitter),
        changes=(*spared, *_suspect(suspected, context)),
        tightens_slot=isinstance(error, Refused) and kind is not QueryFailureKind.TOO_FREQUENT,
        backs_off_whole_sid=kind is QueryFailureKind.TOO_FREQUENT,
    )


def decide(order: Order, context: FailureContext) -> tuple[Order, bool]:
    """Return the order after the failure, and whether it becomes a suspect. The order is due as before the query."""
    order = context.query.as_before(order)
    match context.kind:
        case QueryFailureKind.REFUSED:
            return order, True
        case QueryFailureKind.UNREADABLE:
            counted = replace(order, batch_failures=order.batch_failures + 1)
            return counted, order.lane.is_suspect or counted.batch_failures >= BATCH_FAILURES_BEFORE_SUSPICION
        case QueryFailureKind.UNAVAILABLE:
            counted = replace(order, unavailable_failures=order.unavailable_failures + 1)
            return counted, counted.unavailable_failures >= UNAVAILABLE_BEFORE_SUSPICION
        case _:
            return order, False


def _polled_no_more(order: Order, context: FailureContext) -> Order:
    """Stop polling an unresolved order whose query failed. It was polled once more because a check was requested.

    If the order became a suspect, it would be polled many times. Instead, it counts as failed alone: if it is polled
    again, it gets a query of its own (`poll_unresolved_at`). For some windows after this query, a callback does not
    have the order polled. The end of this wait is stored, because `queried_at` holds only the time of answered queries.
    """
    query, again_at = context.query, unresolved_again_at(context.query.sent_at, context.rules)
    after = order.no_longer_polled(
        OrderState.UNRESOLVED, failures_alone=max(1, order.failures_alone), callback_check_after=again_at
    )
    requested_at = query.requested_since(order)
    if requested_at is None and order.check_requested_at is not None and not query.is_alone:
        # Another order of the batch may be the cause, so the requested check stays. It ends with a query of this order
        # alone.
        requested_at = again_at
    return after if requested_at is None else poll_unresolved_at(after, max(context.now, requested_at))


def _account_after(context: FailureContext, jitter: float) -> AccountState:
    error, kind, rules, now = context.error, context.kind, context.rules, context.now
    state = count_failure(context.state, context.query) if kind in MAKE_SUSPECTS else context.state
    if kind is QueryFailureKind.UNSENT:
        return state
    if kind is QueryFailureKind.HOST_REFUSED:
        return wait_a_window(state, rules, now, is_unreachable=False)
    if kind is QueryFailureKind.REFUSED:
        state = replace(state, refusals_in_row=state.refusals_in_row + 1)
        if state.refusals_in_row >= REFUSALS_BEFORE_BACKOFF:
            state = back_off(state, rules, now, jitter=jitter)
    else:
        state = replace(state, refusals_in_row=0)
        if kind is QueryFailureKind.UNREACHABLE:
            state = wait_a_window(state, rules, now, is_unreachable=True)
        elif kind is not QueryFailureKind.CONFIGURATION:
            retry_after = error.retry_after if isinstance(error, HttpError) else None
            is_requested = kind is QueryFailureKind.TOO_FREQUENT
            state = back_off(state, rules, now, jitter=jitter, at_least=retry_after or 0.0, is_requested=is_requested)
    # After the platform refused with code -205, one order is queried every 15 windows until a query succeeds, even if
    # other failures come between.
    queries_rarely = kind is QueryFailureKind.CONFIGURATION or state.configuration_refused
    return wait_for_configuration(state, rules, now) if queries_rarely else state


def _suspect(changes: Sequence[Change], context: FailureContext) -> list[Change]:
    """Make the orders of a failed query a group of suspects. If they were a group already, split it into two halves. If
    the query polled one order alone, count its failure."""
    query = context.query
    if query.is_alone:
        return [_failed_alone(change, context) for change in changes]
    was_group = all(change.before.lane.is_suspect for change in changes)
    first_size = (len(changes) + 1) // 2 if was_group else len(changes)
    first, second = changes[:first_size], changes[first_size:]
    return [
        *_as_group(first, group_number(query.id, 0), context),
        *_as_group(second, group_number(query.id, 1), context),
    ]


def _as_group(changes: Sequence[Change], group: int, context: FailureContext) -> list[Change]:
    lane = Lane.LONE_SUSPECT if len(changes) == 1 else Lane.SUSPECT
    return [_set_aside(change, group, lane, context) for change in changes]


def _set_aside(change: Change, group: int, lane: Lane, context: FailureContext) -> Change:
    after = replace(change.after, lane=lane, suspect_group=group, absences=0, absence_mark=0)
    if context.kind is QueryFailureKind.UNAVAILABLE:
        # Count from 0 again: only after ten more failures of this kind is the group halved, or a failure of a lone
        # order counted.
        after = replace(after, unavailable_failures=0)
    if change.before.lane.is_suspect:
        return change.then(after)
    return context.query.record(change, after, EventKind.SUSPECTED, context.now, MAKE_SUSPECTS[context.kind])


def _failed_alone(change: Change, context: FailureContext) -> Change:
    query, kind, now, rules = context.query, context.kind, context.now, context.rules
    before = change.before
    # A lone suspect keeps its group number, which shows the query that made it a lone suspect.
    made_by = before.suspect_group if before.lane is Lane.LONE_SUSPECT else None
    change = _set_aside(change, made_by or group_number(query.id, 0), Lane.LONE_SUSPECT, context)
    after = change.after
    if context.blame is not Blame.DOUBTED:
        after = replace(after, due_at=next_due(after.submitted_at, context.schedule, now, rules))
    if after.id_kind is query.id_kind and (after.failures_alone == 0 or _others_succeeded(after, context)):
        after = replace(
            after,
            failures_alone=after.failures_alone + 1,
            failure_mark=context.state.answered(query.id_kind),
            failure_mark_any=context.state.answered_by_either,
        )
    change = change.then(after)
    if after.failures_alone >= FAILURES_ALONE_BEFORE_GIVING_UP:
        return give_up(change, Attention.REJECTED_BY_PLATFORM, query, now, MAKE_SUSPECTS[kind], rules)
    return change


def _others_succeeded(order: Order, context: FailureContext) -> bool:
    """Whether queries were answered since the order last failed alone.

    If none was, the platform refuses every query, or every query by this id kind, and no order is the cause. For an
    order past the age limit, a query answered by either id kind counts. Otherwise, if an account may not query by
    customParm, its orders would stay pending for ever.
    """
    query, state = context.query, context.state
    if is_past_age_limit(order, query, context.rules):
        return state.answered_by_either > order.failure_mark_any
    return state.answered(query.id_kind) > order.failure_mark
