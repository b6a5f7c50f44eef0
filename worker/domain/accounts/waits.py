"""Pauses by an operator, and the back-off after query failures.

A back-off has jitter, and restarts if a clock was stepped.

Some kinds of query failure make the polled orders suspects. But many failures in a row, for example because of a
firewall, say nothing about single orders. So ten such failures in a row are an outage, and three answers in a row end
the outage. Then the suspect groups that the outage created or halved return to the batches. A suspect that failed alone
again, while queries of other orders succeeded, stays a suspect.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.records.accounts import AccountState, Pause, Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.operators import Act
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Order
from worker.domain.records.queries import Query
from worker.domain.scheduling.ages_and_observations import bucket_at

LONGEST_BACKOFF_WINDOWS = 15
LONGEST_RETRY_AFTER_WINDOWS = 60
FAILURES_OF_AN_OUTAGE = 10
ANSWERS_AFTER_AN_OUTAGE = 3
RETURN_WINDOWS = 360
"""Suspects are returned to the batches at most once in this many windows."""
FAILED_AGAIN = 2
"""A suspect that failed alone this often, with successful queries of other orders in between, is not returned to the
batches after an outage."""


def back_off(
    state: AccountState,
    rules: Rules,
    now: datetime,
    *,
    jitter: float,
    at_least: float = 0.0,
    is_requested: bool = False,
) -> AccountState:
    """Back off for 1 window at first, then for twice as long each time, up to 15 windows.

    If the account already waits longer, that wait stays. `jitter` (0 to 1) adds up to a tenth to the wait. `at_least`
    is the wait that the platform asked for, in seconds; at most 60 windows of it count. `is_requested` says that the
    platform asked for the whole wait.
    """
    windows = min(2**state.backoff_level * (1 + jitter / 10), LONGEST_BACKOFF_WINDOWS)
    if state.configuration_refused:
        windows = LONGEST_BACKOFF_WINDOWS
    requested = min(at_least, LONGEST_RETRY_AFTER_WINDOWS * rules.window_seconds)
    seconds = max(windows * rules.window_seconds, requested)
    state = replace(state, backoff_level=min(state.backoff_level + 1, 10))
    if requested or is_requested:
        until = now + timedelta(seconds=seconds if is_requested else requested)
        state = replace(state, backoff_requested_until=max(until, state.backoff_requested_until or until))
    return _wait_at_least(state, seconds, now)


def end_back_off(state: AccountState) -> AccountState:
    """End the back-off after a success, and reset its counts."""
    return replace(
        state,
        backoff_level=0,
        backoff_until=None,
        backoff_seconds=0.0,
        backoff_unreachable=False,
        backoff_requested_until=None,
        refusals_in_row=0,
        configuration_refused=False,
    )


def wait_a_window(state: AccountState, rules: Rules, now: datetime, *, is_unreachable: bool) -> AccountState:
    """Back off for one window after a failure that may be the fault of this host only. A wait that ends later stays."""
    waiting = _wait_at_least(state, rules.window_seconds, now)
    return waiting if waiting is state else replace(waiting, backoff_unreachable=is_unreachable)


def end_wait(state: AccountState, now: datetime) -> AccountState:
    """End the account's wait at an operator's request, except the part that the platform asked for.

    The counts of the back-off stay.
    """
    until, requested = state.backoff_until, state.backoff_requested_until
    if until is None or until <= now:
        return state
    if requested is None or requested <= now:
        return replace(state, backoff_until=None, backoff_seconds=0.0, backoff_requested_until=None)
    # Shorten the end and the length equally, so that the begin stays: an answer to a query that was sent before the
    # back-off began must not end the back-off.
    kept = min(until, requested)
    seconds = state.backoff_seconds - (until - kept).total_seconds()
    return replace(state, backoff_until=kept, backoff_seconds=seconds)


def wait_for_configuration(state: AccountState, rules: Rules, now: datetime) -> AccountState:
    """Query one order every 15 windows until a success, because the platform answered -205.

    If the account already waits longer than 15 windows, that wait stays.
    """
    state = replace(state, configuration_refused=True)
    return _wait_at_least(state, LONGEST_BACKOFF_WINDOWS * rules.window_seconds, now)


def restart_stepped_backoff(state: AccountState, now: datetime) -> AccountState:
    """Restart a back-off now if its end is further ahead than its whole length, because a clock was stepped."""
    if state.backoff_until is None or state.backoff_until - now <= timedelta(seconds=state.backoff_seconds):
        return state
    requested = state.backoff_requested_until
    restarted = now + timedelta(seconds=state.backoff_seconds)
    return replace(
        state, backoff_until=restarted, backoff_requested_until=None if requested is None else min(requested, restarted)
    )


def waits(state: AccountState, now: datetime) -> bool:
    """Whether no query of the account would be granted, because it is paused or backs off."""
    if state.is_paused(now):
        return True
    # If a clock step has lengthened the back-off, the account does not wait here: the next grant restarts the back-off.
    return state.is_backed_off(now) and restart_stepped_backoff(state, now) == state


def may_query_at(slot_due_at: datetime, states: Collection[AccountState], now: datetime) -> datetime | None:
    """When a slot may carry a query of any of these accounts; None if all of them are paused."""
    if not states:
        return slot_due_at
    starts = [
        state.backoff_until if state.backoff_until is not None and state.is_backed_off(now) else now
        for state in states
        if not state.is_paused(now)
    ]
    return max(slot_due_at, min(starts)) if starts else None


def _wait_at_least(state: AccountState, seconds: float, now: datetime) -> AccountState:
    if state.backoff_until is not None and state.backoff_until >= now + timedelta(seconds=seconds):
        return state
    until = now + timedelta(seconds=seconds)
    return replace(state, backoff_until=until, backoff_seconds=seconds, backoff_unreachable=False)


def group_number(query_id: int, half: int) -> int:
    """The number of a suspect group. `half` is 0 or 1, so each query has two numbers, which no other query uses."""
    return query_id * 2 + half


def count_failure(state: AccountState, query: Query) -> AccountState:
    """Return the account's state after a query failure of a kind that makes suspects."""
    failures = state.failures_in_row + 1
    # With several slots, queries may end in another order than they began, so this query may be older than the first.
    since = min(state.failing_since or query.id, query.id)
    state = replace(state, failures_in_row=failures, failing_since=since, answers_in_row=0)
    if failures < FAILURES_OF_AN_OUTAGE:
        return state
    # If an outage was interrupted by fewer than three answers, it continues, so its first query stays.
    start = min(state.outage_from or since, since)
    return replace(state, outage_from=start, outage_until=max(state.outage_until or 0, query.id))


def count_answer(state: AccountState, now: datetime, rules: Rules) -> tuple[AccountState, tuple[int, int] | None]:
    """Return the account's state after an answered query. If the answer ends an outage, also return two group numbers.

    They are the first and the last number of the suspect groups that return to the batches.
    """
    state = replace(state, failures_in_row=0, failing_since=None)
    if state.outage_from is None or state.outage_until is None:
        return state, None
    answers = min(state.answers_in_row + 1, ANSWERS_AFTER_AN_OUTAGE)
    returned_at = state.suspects_returned_at
    # If `returned_at` is in the future, a clock was set back. Then it is not too soon.
    is_too_soon = returned_at is not None and now - rules.windows(RETURN_WINDOWS) < returned_at <= now
    if answers < ANSWERS_AFTER_AN_OUTAGE or is_too_soon:
        return replace(state, answers_in_row=answers), None
    groups = group_number(state.outage_from, 0), group_number(state.outage_until, 1)
    over = replace(state, outage_from=None, outage_until=None, answers_in_row=0, suspects_returned_at=now)
    return over, groups


def return_to_batch(order: Order, query: Query, now: datetime, rules: Rules) -> Change:
    """Return a suspect of an outage to the batches. The answer to `query` showed that the outage is over."""
    bucket = bucket_at(order.submitted_at, order.queried_at, rules)
    after = replace(order.out_of_suspicion(), lease_token=None, age_bucket=bucket)
    return query.record(Change.none(order), after, EventKind.CLEARED, now, CodedText(TextCode.OUTAGE_OVER))


MOST_DAYS_AHEAD = 30
"""The most days ahead that a pause may end. Every page shows a pause until its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """An account before and after an operator resumed it.

    The pauses that were on have ended. So has the back-off, except a wait that the platform asked for.
    """

    before: AccountState
    after: AccountState
    now: datetime
    """The time of the act, on the database's clock."""

    @property
    def ended_back_off(self) -> datetime | None:
        """The former end of a back-off that was ended or shortened; None if none was."""
        return None if self.after.backoff_until == self.before.backoff_until else self.before.backoff_until

    @property
    def waits_until(self) -> datetime | None:
        """Until when the account still backs off, because the platform asked for it; None if it does not."""
        return self.after.backoff_until if self.after.is_backed_off(self.now) else None

    @property
    def is_resumed(self) -> bool:
        """Whether there was a pause or a back-off to end. If not, nothing is recorded."""
        return self.before.is_paused(self.now) or self.ended_back_off is not None


def pause_fault(begins: datetime | None, ends: datetime, now: datetime) -> TextCode | None:
    """Return why a pause cannot have this begin (None: now) and this end; None if it can."""
    if ends <= now:
        return TextCode.PAUSE_IS_OVER
    if begins is not None and ends <= begins:
        return TextCode.PAUSE_ENDS_FIRST
    return TextCode.PAUSE_TOO_FAR_AHEAD if ends - now > timedelta(days=MOST_DAYS_AHEAD) else None


def pause(state: AccountState, act: Act, until: datetime | None, begins: datetime | None = None) -> AccountState:
    """Return the account with one more pause, from `begins` (None: now) until `until` (None: an operator ends it).

    If no begin is given, the pause replaces all other pauses without a given begin, even if they end later. A pause
    with a given begin replaces nothing; it is on at once if its begin has passed. Pauses that have ended are dropped.
    So is a pause that differs from the new one only in its `act_key`.
    """
    added = Pause(
        paused_at=begins or act.now,
        paused_until=until,
        paused_by=act.actor,
        pause_reason=act.reason,
        act_key=act.key,
        is_planned=begins is not None,
    )
    others = (one for one in state.lasting_pauses(act.now) if replace(one, act_key=act.key) != added)
    kept = [one for one in others if one.is_planned or begins is not None]
    return replace(state, pauses=(*kept, added))


def resume(state: AccountState, now: datetime) -> Resumed:
    """End all pauses that are on, and the back-off, except a wait that the platform asked for. Planned pauses stay."""
    before = restart_stepped_backoff(state, now)
    after = replace(before, pauses=tuple(before.planned_pauses(now)))
    return Resumed(before=before, after=end_wait(after, now), now=now)


def without_pauses(state: AccountState, cancelled: Collection[Pause]) -> AccountState:
    """Return the account without these pauses."""
    return replace(state, pauses=tuple(one for one in state.pauses if one not in cancelled))


def announced_pauses(states: Iterable[AccountState], now: datetime) -> list[tuple[Pause, list[str]]]:
    """Return the pauses to announce, with their accounts, the earliest first.

    These are the pauses that are on, and each account's next planned one. A pause without an end may last for good, so
    it is not announced. Accounts that one act paused share one entry.
    """
    found: defaultdict[Pause, list[str]] = defaultdict(list)
    announced: set[Pause] = set()
    for state in states:
        on, plans = state.pauses_on(now), state.planned_pauses(now)
        announced.update(one for one in (*on, *plans[:1]) if one.paused_until is not None)
        for one in (*on, *plans):
            found[one].append(state.account)
    return sorted(((one, found[one]) for one in announced), key=lambda item: (item[0].paused_at, item[1]))
