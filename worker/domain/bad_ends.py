"""What a query does that ended without an answer: to the account, and to the orders that may be the cause."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from worker.domain.accounts import AccountState, back_off, wait_for_configuration
from worker.domain.giving_up import give_up, give_up_if_too_old
from worker.domain.orders import Attention, Change, EventKind, Lane, Order
from worker.domain.pricing.due import next_due
from worker.domain.pricing.prices import Prices
from worker.domain.queries import Aftermath, Query
from worker.domain.query_errors import HttpError, NotSent, QueryError, Refused, Unreachable
from worker.domain.rules import Rules

REFUSALS_BEFORE_BACKOFF = 3
BAD_ENDS_BEFORE_SUSPICION = 2
FAILURES_ALONE_BEFORE_GIVING_UP = 3

_CONFIGURATION_CODE = "-205"
_TOO_FREQUENT = ("频繁", "频率", "too frequent", "too many requests", "rate limit")


class End(Enum):
    """The ends that are told apart, beyond the outcome that the query's row shows."""

    REFUSED = "the platform refused the batch"
    TOO_FREQUENT = "the platform says that it is asked too often"
    CONFIGURATION = "the platform refuses the application"
    UNREADABLE = "malformed, timeout or HTTP 500: perhaps the batch's fault"
    UNAVAILABLE = "unreachable, or any other HTTP status: not the batch's fault"
    UNSENT = "nothing was sent"


@dataclass(frozen=True, slots=True)
class _Failing:
    """A query that failed, how, and what is known then."""

    query: Query
    end: End
    state: AccountState
    prices: Prices
    now: datetime
    rules: Rules


def end_of(error: QueryError) -> End:
    """Which end an error is."""
    match error:
        case Refused():
            message = (error.status_msg or "").casefold()
            if any(words in message for words in _TOO_FREQUENT):
                return End.TOO_FREQUENT
            return End.CONFIGURATION if error.status_code == _CONFIGURATION_CODE else End.REFUSED
        case NotSent():
            return End.UNSENT
        case Unreachable():
            return End.UNAVAILABLE
        case HttpError() if error.http_status != 500:
            return End.UNAVAILABLE
        case _:
            return End.UNREADABLE


def after_bad_end(
    query: Query,
    error: QueryError,
    orders: Sequence[Order],
    state: AccountState,
    *,
    prices: Prices,
    now: datetime,
    rules: Rules,
    jitter: float,
) -> Aftermath:
    """Decide what a failed query does. `orders` are the asked rows as they stand now; `jitter` is from 0 to 1."""
    failing = _Failing(query, end_of(error), state, prices, now, rules)
    end = failing.end
    held = [order for order in orders if query.holds(order)]
    changes = [_as_before(order, query) for order in held]
    if end is End.REFUSED:
        changes = _suspect(changes, failing)
    elif end is End.UNREADABLE:
        changes = [change.then(replace(change.after, bad_ends=change.after.bad_ends + 1)) for change in changes]
        suspected = [change for change in changes if _is_suspected(change.after)]
        spared = [change for change in changes if not _is_suspected(change.after)]
        changes = spared + _suspect(suspected, failing)
    return Aftermath(
        state=_account_after(end, error, state, rules, now, jitter),
        changes=tuple(changes),
        tightens_slot=end in (End.REFUSED, End.CONFIGURATION),
        backs_off_whole_sid=end is End.TOO_FREQUENT,
    )


def _account_after(
    end: End, error: QueryError, state: AccountState, rules: Rules, now: datetime, jitter: float
) -> AccountState:
    if end is End.UNSENT:
        return state
    if end is End.REFUSED:
        state = replace(state, refusals_in_row=state.refusals_in_row + 1)
        if state.refusals_in_row >= REFUSALS_BEFORE_BACKOFF:
            state = back_off(state, rules, now, jitter=jitter)
    else:
        state = replace(state, refusals_in_row=0)
        if end is not End.CONFIGURATION:
            retry_after = error.retry_after if isinstance(error, HttpError) else None
            state = back_off(state, rules, now, jitter=jitter, at_least=retry_after or 0.0)
    # Whatever ends come after a -205: one order every 15 windows, until a success.
    asks_rarely = end is End.CONFIGURATION or state.configuration_refused
    return wait_for_configuration(state, rules, now) if asks_rarely else state


def _as_before(order: Order, query: Query) -> Change:
    """A query that was not answered leaves its orders due as they were."""
    due_before = {asked.id: asked.due_at for asked in query.orders}
    return Change(before=order, after=replace(order, due_at=due_before[order.id], lease_token=None))


def _is_suspected(order: Order) -> bool:
    return order.lane is Lane.SUSPECT or order.bad_ends >= BAD_ENDS_BEFORE_SUSPICION


def _suspect(changes: Sequence[Change], failing: _Failing) -> list[Change]:
    """Make orders a group of suspects; a group that was one already is halved, a lone order counts its failure."""
    query = failing.query
    if query.is_alone:
        return [_failed_alone(change, failing) for change in changes]
    was_group = all(change.before.lane is Lane.SUSPECT for change in changes)
    first_half = (len(changes) + 1) // 2 if was_group else len(changes)
    # Two numbers are set aside for each query: nobody else can make the same group.
    return [
        _set_aside(change, query.id * 2 + (position >= first_half), failing) for position, change in enumerate(changes)
    ]


def _set_aside(change: Change, group: int, failing: _Failing) -> Change:
    after = replace(change.after, lane=Lane.SUSPECT, suspect_group=group, absences=0, absence_mark=0)
    if change.before.lane is Lane.SUSPECT:
        return change.then(after)
    event = failing.query.event(change.before, after, EventKind.SUSPECTED, failing.now, failing.end.value)
    return change.then(after, [event])


def _failed_alone(change: Change, failing: _Failing) -> Change:
    query, end, now, rules = failing.query, failing.end, failing.now, failing.rules
    change = _set_aside(change, query.id * 2, failing)
    due_at = next_due(change.after.submitted_at, failing.prices, now, rules)
    after = replace(change.after, due_at=due_at)
    answered = failing.state.answered(query.id_kind)
    # Without a success of others in between, the platform refuses everything: that is no order's fault.
    if after.id_kind is query.id_kind and (after.failures_alone == 0 or answered > after.failure_mark):
        after = replace(after, failures_alone=after.failures_alone + 1, failure_mark=answered)
    change = change.then(after)
    if after.failures_alone >= FAILURES_ALONE_BEFORE_GIVING_UP:
        return give_up(change, Attention.REJECTED_BY_PLATFORM, query, now, end.value)
    if end is not End.REFUSED:
        return change
    return give_up_if_too_old(change, query, now, rules, "refused alone, past the age limit")
