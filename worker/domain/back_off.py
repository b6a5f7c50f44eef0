"""How long an account waits after a query failure: the back-off, its jitter, and its restart after a clock step."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.records.accounts import AccountState
from worker.domain.records.parameters import Rules

LONGEST_BACKOFF_WINDOWS = 15
LONGEST_RETRY_AFTER_WINDOWS = 60


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
        backoff_requested_until=None,
        refusals_in_row=0,
        configuration_refused=False,
    )


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
    return replace(state, backoff_until=now + timedelta(seconds=seconds), backoff_seconds=seconds)
