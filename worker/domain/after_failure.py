"""What a query does that ended without an answer: to the account, and to the orders that may be the cause."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from worker.domain.back_off import back_off, wait_for_configuration
from worker.domain.giving_up import give_up
from worker.domain.outages import count_failure, group_number
from worker.domain.query_effects import QueryEffects
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import Attention, Change, EventKind, Lane, Order
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query
from worker.domain.records.query_errors import HttpError, NotSent, QueryError, Refused, Unreachable
from worker.domain.scheduling.due_times import next_due
from worker.domain.scheduling.poll_schedule import PollSchedule

REFUSALS_BEFORE_BACKOFF = 3
BATCH_FAILURES_BEFORE_SUSPICION = 2
UNAVAILABLE_BEFORE_SUSPICION = 10
FAILURES_ALONE_BEFORE_GIVING_UP = 3

_CONFIGURATION_CODE = "-205"
# Statuses of a platform or a gateway that takes no query at the moment. Any other may be drawn by an id's characters.
_UNAVAILABLE_STATUSES = frozenset({401, 429, 503})
_TOO_FREQUENT = ("频繁", "频率", "too frequent", "too many requests", "rate limit")


class QueryFailureKind(Enum):
    """The ends that are told apart, beyond the outcome that the query's row shows."""

    REFUSED = "the platform refused the batch"
    TOO_FREQUENT = "the platform says that it is asked too often"
    CONFIGURATION = "the platform refuses the application"
    UNREADABLE = "malformed, timeout or an HTTP status: perhaps the batch's fault"
    UNAVAILABLE = "HTTP 401, 429 or 503: hardly the batch's fault"
    UNREACHABLE = "no connection: not the batch's fault"
    UNSENT = "nothing was sent"


MAKE_SUSPECTS = frozenset({QueryFailureKind.REFUSED, QueryFailureKind.UNREADABLE, QueryFailureKind.UNAVAILABLE})
"""The ends that make suspects of their orders: at once, the second time in a row, or the tenth."""


@dataclass(frozen=True, slots=True)
class _Failing:
    """A query that failed, how, and what is known then."""

    query: Query
    end: QueryFailureKind
    state: AccountState
    schedule: PollSchedule
    now: datetime
    rules: Rules


def failure_kind_of(error: QueryError) -> QueryFailureKind:
    """Which end an error is."""
    match error:
        case Refused():
            message = (error.status_msg or "").casefold()
            if any(words in message for words in _TOO_FREQUENT):
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
) -> QueryEffects:
    """Decide what a failed query does. `orders` are the asked rows as they stand now; `jitter` is from 0 to 1."""
    failing = _Failing(query, failure_kind_of(error), state, schedule, now, rules)
    end = failing.end
    held = [order for order in orders if query.holds(order)]
    counted = [_counted(Change(before=order, after=query.as_before(order)), end) for order in held]
    suspected = [change for change in counted if _is_suspected(change.after, end)]
    spared = [change for change in counted if not _is_suspected(change.after, end)]
    if end in MAKE_SUSPECTS:
        state = count_failure(state, query)
    return QueryEffects(
        state=_account_after(end, error, state, rules, now, jitter),
        changes=(*spared, *_suspect(suspected, failing)),
        tightens_slot=end in (QueryFailureKind.REFUSED, QueryFailureKind.CONFIGURATION),
        backs_off_whole_sid=end is QueryFailureKind.TOO_FREQUENT,
    )


def _account_after(
    end: QueryFailureKind, error: QueryError, state: AccountState, rules: Rules, now: datetime, jitter: float
) -> AccountState:
    if end is QueryFailureKind.UNSENT:
        return state
    if end is QueryFailureKind.REFUSED:
        state = replace(state, refusals_in_row=state.refusals_in_row + 1)
        if state.refusals_in_row >= REFUSALS_BEFORE_BACKOFF:
            state = back_off(state, rules, now, jitter=jitter)
    else:
        state = replace(state, refusals_in_row=0)
        if end is not QueryFailureKind.CONFIGURATION:
            retry_after = error.retry_after if isinstance(error, HttpError) else None
            state = back_off(state, rules, now, jitter=jitter, at_least=retry_after or 0.0)
    # Whatever ends come after a -205: one order every 15 windows, until a success.
    asks_rarely = end is QueryFailureKind.CONFIGURATION or state.configuration_refused
    return wait_for_configuration(state, rules, now) if asks_rarely else state


def _counted(change: Change, end: QueryFailureKind) -> Change:
    order = change.after
    match end:
        case QueryFailureKind.UNREADABLE:
            return change.then(replace(order, batch_failures=order.batch_failures + 1))
        case QueryFailureKind.UNAVAILABLE:
            return change.then(replace(order, unavailable_failures=order.unavailable_failures + 1))
        case _:
            return change


def _is_suspected(order: Order, end: QueryFailureKind) -> bool:
    match end:
        case QueryFailureKind.REFUSED:
            return True
        case QueryFailureKind.UNREADABLE:
            return order.lane.is_suspect or order.batch_failures >= BATCH_FAILURES_BEFORE_SUSPICION
        case QueryFailureKind.UNAVAILABLE:
            return order.unavailable_failures >= UNAVAILABLE_BEFORE_SUSPICION
        case _:
            return False


def _suspect(changes: Sequence[Change], failing: _Failing) -> list[Change]:
    """Make orders a group of suspects; a group that was one already is halved, a lone order counts its failure."""
    query = failing.query
    if query.is_alone:
        return [_failed_alone(change, failing) for change in changes]
    was_group = all(change.before.lane.is_suspect for change in changes)
    first_size = (len(changes) + 1) // 2 if was_group else len(changes)
    first, second = changes[:first_size], changes[first_size:]
    return [
        *_as_group(first, group_number(query.id, 0), failing),
        *_as_group(second, group_number(query.id, 1), failing),
    ]


def _as_group(changes: Sequence[Change], group: int, failing: _Failing) -> list[Change]:
    lane = Lane.LONE_SUSPECT if len(changes) == 1 else Lane.SUSPECT
    return [_set_aside(change, group, lane, failing) for change in changes]


def _set_aside(change: Change, group: int, lane: Lane, failing: _Failing) -> Change:
    after = replace(change.after, lane=lane, suspect_group=group, absences=0, absence_mark=0)
    if failing.end is QueryFailureKind.UNAVAILABLE:
        # It takes ten more of them to halve the group, or to count against a lone order.
        after = replace(after, unavailable_failures=0)
    if change.before.lane.is_suspect:
        return change.then(after)
    event = failing.query.event(change.before, after, EventKind.SUSPECTED, failing.now, failing.end.value)
    return change.then(after, [event])


def _failed_alone(change: Change, failing: _Failing) -> Change:
    query, end, now, rules = failing.query, failing.end, failing.now, failing.rules
    before = change.before
    # One that was lone already keeps its number, which tells which end made it.
    made_by = before.suspect_group if before.lane is Lane.LONE_SUSPECT else None
    change = _set_aside(change, made_by or group_number(query.id, 0), Lane.LONE_SUSPECT, failing)
    after = replace(change.after, due_at=next_due(change.after.submitted_at, failing.schedule, now, rules))
    if after.id_kind is query.id_kind and (after.failures_alone == 0 or _others_succeeded(after, failing)):
        after = replace(
            after,
            failures_alone=after.failures_alone + 1,
            failure_mark=failing.state.answered(query.id_kind),
            failure_mark_any=failing.state.answered_by_either,
        )
    change = change.then(after)
    if after.failures_alone >= FAILURES_ALONE_BEFORE_GIVING_UP:
        return give_up(change, Attention.REJECTED_BY_PLATFORM, query, now, end.value)
    return change


def _others_succeeded(order: Order, failing: _Failing) -> bool:
    """Whether queries were answered since the order last failed alone.

    Without that the platform refuses everything, or everything by this id kind: no order's fault. Past the age limit
    any answer counts: an account that may not ask by customParm would leave its orders pending for good.
    """
    query, state = failing.query, failing.state
    if query.is_past_age_limit(order, failing.rules):
        return state.answered_by_either > order.failure_mark_any
    return state.answered(query.id_kind) > order.failure_mark
