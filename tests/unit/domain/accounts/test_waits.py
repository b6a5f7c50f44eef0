"""Back-offs: how long they last, who ends them, and whether an account waits."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW, RULES, WINDOW, make_state
from worker.domain.accounts.waits import (
    back_off,
    end_back_off,
    end_wait,
    may_query_at,
    restart_stepped_backoff,
    wait_for_configuration,
    waits,
)
from worker.domain.records.accounts import Pause, SlotKey


def test_a_back_off_is_1_window_doubling_to_15() -> None:
    state, waits = make_state(), []
    for _ in range(7):
        state = back_off(state, RULES, NOW if state.backoff_until is None else state.backoff_until, jitter=0.0)
        waits.append(state.backoff_seconds / RULES.window_seconds)
    assert waits == [1, 2, 4, 8, 15, 15, 15]


@given(st.integers(0, 100), st.floats(0, 1))
def test_jitter_lengthens_a_back_off_by_a_tenth_at_most_and_never_beyond_15_windows(level: int, jitter: float) -> None:
    plain = back_off(make_state(backoff_level=min(level, 10)), RULES, NOW, jitter=0.0).backoff_seconds
    jittered = back_off(make_state(backoff_level=min(level, 10)), RULES, NOW, jitter=jitter).backoff_seconds
    assert jittered == pytest.approx(min(plain * (1 + jitter / 10), 15 * RULES.window_seconds))


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(0.0, 60.0), (59.0, 60.0), (300.0, 300.0), (3600.0, 3600.0), (9e9, 3600.0), (float("inf"), 3600.0)],
)
def test_retry_after_only_lengthens_the_wait_and_counts_up_to_60_windows(retry_after: float, seconds: float) -> None:
    assert back_off(make_state(), RULES, NOW, jitter=0.0, at_least=retry_after).backoff_seconds == seconds


def test_a_back_off_never_shortens_a_wait() -> None:
    state = back_off(make_state(), RULES, NOW, jitter=0.0, at_least=3600.0)
    assert back_off(state, RULES, NOW, jitter=0.0).backoff_until == NOW + timedelta(hours=1)


def test_an_account_is_backed_off_until_its_time_has_come() -> None:
    state = back_off(make_state(), RULES, NOW, jitter=0.0)
    assert not make_state().is_backed_off(NOW)
    assert state.is_backed_off(NOW + 0.99 * WINDOW)
    assert not state.is_backed_off(NOW + WINDOW)


def test_an_operator_ends_a_back_off_and_what_failed_in_a_row_still_counts() -> None:
    state = back_off(back_off(make_state(refusals_in_row=2), RULES, NOW, jitter=0.0), RULES, NOW + WINDOW, jitter=0.0)
    ended = end_wait(state, NOW + WINDOW)
    assert (ended.backoff_until, ended.backoff_seconds, ended.backoff_requested_until) == (None, 0.0, None)
    assert (ended.backoff_level, ended.refusals_in_row) == (2, 2)


def test_an_operator_ends_the_wait_after_a_configuration_error_and_one_order_is_still_polled_first() -> None:
    ended = end_wait(wait_for_configuration(make_state(), RULES, NOW), NOW)
    assert (ended.backoff_until, ended.configuration_refused) == (None, True)


def test_an_operator_ends_nothing_that_the_platform_asked_for() -> None:
    for asked in ({"at_least": 300.0}, {"is_requested": True}):
        state = back_off(make_state(), RULES, NOW, jitter=0.0, **asked)
        assert state.backoff_requested_until == state.backoff_until
        assert end_wait(state, NOW) == state


def test_an_operator_shortens_a_back_off_to_what_the_platform_asked_for() -> None:
    state = back_off(make_state(backoff_level=3), RULES, NOW, jitter=0.0, at_least=120.0)
    assert state.backoff_until == NOW + 8 * WINDOW
    shorter = end_wait(state, NOW)
    assert (shorter.backoff_until, shorter.backoff_seconds) == (NOW + 2 * WINDOW, 120.0)
    # From then on nothing is left of what it asked for.
    assert end_wait(state, NOW + 2 * WINDOW).backoff_until is None


def test_an_operator_never_lengthens_a_wait() -> None:
    state = replace(back_off(make_state(), RULES, NOW, jitter=0.0), backoff_requested_until=NOW + 10 * WINDOW)
    assert end_wait(state, NOW) == state


def test_what_the_platform_asked_for_is_kept_through_a_later_back_off() -> None:
    state = back_off(make_state(), RULES, NOW, jitter=0.0, at_least=600.0)
    later = back_off(state, RULES, NOW + WINDOW, jitter=0.0, at_least=1.0)
    assert later.backoff_requested_until == NOW + 10 * WINDOW
    assert end_back_off(later).backoff_requested_until is None


def test_a_back_off_that_is_over_or_was_none_is_not_ended() -> None:
    over = back_off(make_state(), RULES, NOW, jitter=0.0, at_least=300.0)
    for state in (make_state(), over):
        assert end_wait(state, NOW + timedelta(hours=1)) == state


def test_what_the_platform_asked_for_is_clamped_with_its_back_off() -> None:
    state = back_off(make_state(), RULES, NOW + timedelta(hours=1), jitter=0.0, at_least=300.0)
    clamped = restart_stepped_backoff(state, NOW)
    assert clamped.backoff_until == clamped.backoff_requested_until == NOW + 5 * WINDOW


def test_a_slot_carries_no_query_while_all_of_its_accounts_wait() -> None:
    waiting = back_off(make_state(), RULES, NOW, jitter=0.0)
    longer, paused = back_off(waiting, RULES, NOW, jitter=0.0), make_state(pauses=(Pause(paused_at=NOW),))
    for states, starts in (
        ([], NOW),
        ([make_state(), waiting], NOW),
        ([waiting, longer, paused], NOW + WINDOW),
        ([paused], None),
    ):
        assert may_query_at(NOW, states, NOW) == starts
    assert may_query_at(NOW + 2 * WINDOW, [waiting], NOW) == NOW + 2 * WINDOW
    assert may_query_at(NOW, [waiting], NOW + WINDOW) == NOW + WINDOW


def test_any_other_back_off_stays_as_does_a_pause() -> None:
    state = back_off(make_state(pauses=(Pause(paused_at=NOW + timedelta(days=9)),)), RULES, NOW, jitter=0.5)
    assert restart_stepped_backoff(state, NOW) == state
    assert restart_stepped_backoff(make_state(), NOW) == make_state()


def test_an_account_waits_while_it_is_paused_or_backs_off() -> None:
    assert not waits(make_state(), NOW)
    assert waits(make_state(pauses=(Pause(paused_at=NOW),)), NOW)
    backed_off = back_off(make_state(), RULES, NOW, jitter=0.0)
    assert waits(backed_off, NOW)
    assert not waits(backed_off, NOW + WINDOW)


def test_a_back_off_that_a_stepped_clock_made_does_not_keep_an_account_waiting() -> None:
    assert not waits(back_off(make_state(), RULES, NOW + timedelta(hours=1), jitter=0.0), NOW)


def test_a_slot_has_its_sid_and_its_number_as_key() -> None:
    assert SlotKey(account_sid="sid", number=1, app_ids={"default": "app"}).key == ("sid", 1)
