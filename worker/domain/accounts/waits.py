"""How long an account waits: the pauses of an operator, and the back-off after query failures.

A back-off has a jitter, and restarts after a clock step. Many query failures in a row, as from a firewall, say nothing
about single orders: ten of the kinds that make suspects are an outage. Three answers in a row after it return the
suspects that these failures made or halved to the batches. Lone suspects that failed again while others succeeded stay.
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
"""Suspects are returned at most once in so many windows."""
FAILED_AGAIN = 2
"""A suspect that failed alone so often, with a success of others in between, is not returned."""


def back_off(
    state: AccountState,
    rules: Rules,
    now: datetime,
    *,
    jitter: float,
    at_least: float = 0.0,
    is_requested: bool = False,
) -> AccountState:
    """Back off for 1 window, doubling to 15; a longer wait stays.

    `jitter` (0 to 1) adds up to a tenth. The platform asks for `at_least` seconds of it, which count up to 60 windows;
    `is_requested`: it asks for all of it.
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
    """One success ends the back-off and resets what it counted."""
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
    """Back off for one window after a failure that the host alone may have; a longer wait stays."""
    waiting = _wait_at_least(state, rules.window_seconds, now)
    return waiting if waiting is state else replace(waiting, backoff_unreachable=is_unreachable)


def end_wait(state: AccountState, now: datetime) -> AccountState:
    """An operator ends the wait, but not what the platform asked for. Only a success resets what a back-off counts."""
    until, requested = state.backoff_until, state.backoff_requested_until
    if until is None or until <= now:
        return state
    if requested is None or requested <= now:
        return replace(state, backoff_until=None, backoff_seconds=0.0, backoff_requested_until=None)
    # It keeps its begin: an answer to a query from before that does not end a back-off.
    kept = min(until, requested)
    seconds = state.backoff_seconds - (until - kept).total_seconds()
    return replace(state, backoff_until=kept, backoff_seconds=seconds)


def wait_for_configuration(state: AccountState, rules: Rules, now: datetime) -> AccountState:
    """After -205: query one order every 15 windows until a success. A longer wait stays."""
    state = replace(state, configuration_refused=True)
    return _wait_at_least(state, LONGEST_BACKOFF_WINDOWS * rules.window_seconds, now)


def restart_stepped_backoff(state: AccountState, now: datetime) -> AccountState:
    """Start a back-off again from now where it ends further ahead than its own length: a clock was stepped."""
    if state.backoff_until is None or state.backoff_until - now <= timedelta(seconds=state.backoff_seconds):
        return state
    requested = state.backoff_requested_until
    restarted = now + timedelta(seconds=state.backoff_seconds)
    return replace(
        state, backoff_until=restarted, backoff_requested_until=None if requested is None else min(requested, restarted)
    )


def waits(state: AccountState, now: datetime) -> bool:
    """Whether a grant would query nothing for the account: it is paused, or backs off."""
    if state.is_paused(now):
        return True
    # The grant restarts a back-off that a stepped clock has extended.
    return state.is_backed_off(now) and restart_stepped_backoff(state, now) == state


def may_query_at(slot_due_at: datetime, states: Collection[AccountState], now: datetime) -> datetime | None:
    """From when on a slot may carry a query of one of its accounts; None while all of them are paused."""
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
    """The number of a group of suspects. Each query has two of its own, so no other query makes the same group."""
    return query_id * 2 + half


def count_failure(state: AccountState, query: Query) -> AccountState:
    """The account's state after a query failure of a kind that makes suspects."""
    failures = state.failures_in_row + 1
    # With several slots queries may end in another order than they began.
    since = min(state.failing_since or query.id, query.id)
    state = replace(state, failures_in_row=failures, failing_since=since, answers_in_row=0)
    if failures < FAILURES_OF_AN_OUTAGE:
        return state
    # An outage that was interrupted for less than three answers goes on.
    start = min(state.outage_from or since, since)
    return replace(state, outage_from=start, outage_until=max(state.outage_until or 0, query.id))


def count_answer(state: AccountState, now: datetime, rules: Rules) -> tuple[AccountState, tuple[int, int] | None]:
    """The account's state after an answered query, and the first and last group of suspects to return, if any."""
    state = replace(state, failures_in_row=0, failing_since=None)
    if state.outage_from is None or state.outage_until is None:
        return state, None
    answers = min(state.answers_in_row + 1, ANSWERS_AFTER_AN_OUTAGE)
    returned_at = state.suspects_returned_at
    # A time in the future means that a clock was set back since.
    is_too_soon = returned_at is not None and now - rules.windows(RETURN_WINDOWS) < returned_at <= now
    if answers < ANSWERS_AFTER_AN_OUTAGE or is_too_soon:
        return replace(state, answers_in_row=answers), None
    groups = group_number(state.outage_from, 0), group_number(state.outage_until, 1)
    over = replace(state, outage_from=None, outage_until=None, answers_in_row=0, suspects_returned_at=now)
    return over, groups


def return_to_batch(order: Order, query: Query, now: datetime, rules: Rules) -> Change:
    """Return a suspect of an outage to the batches. `query` is the one whose answer showed that the outage is over."""
    bucket = bucket_at(order.submitted_at, order.queried_at, rules)
    after = replace(order.out_of_suspicion(), lease_token=None, age_bucket=bucket)
    return query.record(Change.none(order), after, EventKind.CLEARED, now, CodedText(TextCode.OUTAGE_OVER))


MOST_DAYS_AHEAD = 30
"""How many days ahead a pause may end: it is shown on every page until then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """An account before and after somebody has resumed it: its pause and its back-off have ended, or some of it."""

    before: AccountState
    after: AccountState
    now: datetime
    """By the database's clock."""

    @property
    def ended_back_off(self) -> datetime | None:
        """The end of a back-off that lasts no longer, or shorter; None if there was none that could be ended."""
        return None if self.after.backoff_until == self.before.backoff_until else self.before.backoff_until

    @property
    def waits_until(self) -> datetime | None:
        """Until when the account backs off all the same, because the platform asked for it."""
        return self.after.backoff_until if self.after.is_backed_off(self.now) else None

    @property
    def is_resumed(self) -> bool:
        """Whether there was anything to end; else nothing is recorded."""
        return self.before.is_paused(self.now) or self.ended_back_off is not None


def pause_fault(begins: datetime | None, ends: datetime, now: datetime) -> TextCode | None:
    """Why a pause cannot begin at one time, or now with None, and end at another; None if it can."""
    if ends <= now:
        return TextCode.PAUSE_IS_OVER
    if begins is not None and ends <= begins:
        return TextCode.PAUSE_ENDS_FIRST
    return TextCode.PAUSE_TOO_FAR_AHEAD if ends - now > timedelta(days=MOST_DAYS_AHEAD) else None


def pause(state: AccountState, act: Act, until: datetime | None, begins: datetime | None = None) -> AccountState:
    """The account with one more pause, from a time on or, with None, from now on; `until` None: an operator ends it.

    A pause from now on replaces what was paused by hand, its end as well. A pause with a begin replaces nothing. It is
    on at once if its begin has passed. Pauses that have ended are dropped, and one that is the same but for its act.
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
    """End all pauses that are on, and a back-off; what the platform asked for is waited for all the same. Plans
    stay."""
    before = restart_stepped_backoff(state, now)
    after = replace(before, pauses=tuple(before.planned_pauses(now)))
    return Resumed(before=before, after=end_wait(after, now), now=now)


def without_pauses(state: AccountState, cancelled: Collection[Pause]) -> AccountState:
    """The account without these of its pauses."""
    return replace(state, pauses=tuple(one for one in state.pauses if one not in cancelled))


def announced_pauses(states: Iterable[AccountState], now: datetime) -> list[tuple[Pause, list[str]]]:
    """Each pause with an end that is on or is the next plan of an account, with its accounts; the earliest comes first.
    A pause without an end may stay for good, so it is not announced. Accounts that were paused in one act are together.
    """
    found: defaultdict[Pause, list[str]] = defaultdict(list)
    announced: set[Pause] = set()
    for state in states:
        on, plans = state.pauses_on(now), state.planned_pauses(now)
        announced.update(one for one in (*on, *plans[:1]) if one.paused_until is not None)
        for one in (*on, *plans):
            found[one].append(state.account)
    return sorted(((one, found[one]) for one in announced), key=lambda item: (item[0].paused_at, item[1]))
