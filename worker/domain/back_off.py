"""How long an account waits after a query failure: the back-off, its jitter, and its restart after a clock step."""

from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.records.accounts import AccountState
from worker.domain.records.parameters import Rules

LONGEST_BACKOFF_WINDOWS = 15
LONGEST_RETRY_AFTER_WINDOWS = 60


def back_off(state: AccountState, rules: Rules, now: datetime, *, jitter: float, at_least: float = 0.0) -> AccountState:
    """Back off for 1 window, doubling to 15; a longer wait stays.

    `jitter` (0 to 1) adds up to a tenth; `at_least` is in seconds, and counts up to 60 windows.
    """
    windows = min(2**state.backoff_level * (1 + jitter / 10), LONGEST_BACKOFF_WINDOWS)
    if state.configuration_refused:
        windows = LONGEST_BACKOFF_WINDOWS
    requested = min(at_least, LONGEST_RETRY_AFTER_WINDOWS * rules.window_seconds)
    state = replace(state, backoff_level=min(state.backoff_level + 1, 10))
    return _wait_at_least(state, max(windows * rules.window_seconds, requested), now)


def end_back_off(state: AccountState) -> AccountState:
    """One success ends the back-off and resets what it counted."""
    return replace(
        state,
        backoff_level=0,
        backoff_until=None,
        backoff_seconds=0.0,
        refusals_in_row=0,
        configuration_refused=False,
    )


def wait_for_configuration(state: AccountState, rules: Rules, now: datetime) -> AccountState:
    """After -205: query one order every 15 windows until a success. A longer wait stays."""
    state = replace(state, configuration_refused=True)
    return _wait_at_least(state, LONGEST_BACKOFF_WINDOWS * rules.window_seconds, now)


def restart_stepped_backoff(state: AccountState, now: datetime) -> AccountState:
    """Start a back-off again from now where it ends further ahead than its own length: a clock was stepped."""
    if state.backoff_until is None or state.backoff_until - now <= timedelta(seconds=state.backoff_seconds):
        return state
    return _wait(state, state.backoff_seconds, now)


def waits(state: AccountState, now: datetime) -> bool:
    """Whether a grant would query nothing for the account: it is paused, or backs off."""
    if state.is_paused(now):
        return True
    # The grant restarts a back-off that a stepped clock has extended.
    return state.is_backed_off(now) and restart_stepped_backoff(state, now) == state


def _wait_at_least(state: AccountState, seconds: float, now: datetime) -> AccountState:
    if state.backoff_until is not None and state.backoff_until >= now + timedelta(seconds=seconds):
        return state
    return _wait(state, seconds, now)


def _wait(state: AccountState, seconds: float, now: datetime) -> AccountState:
    return replace(state, backoff_until=now + timedelta(seconds=seconds), backoff_seconds=seconds)
