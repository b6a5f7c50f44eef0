"""What an order waits for, and when it is polled."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.domain.builders import NOW, RULES, TOKEN, make_order, make_state
from worker.domain.monitoring.next_step import Circumstances, NextStep, Wait, next_step
from worker.domain.records.accounts import Pause
from worker.domain.records.orders import Lane, OrderState

SOON, LATER = NOW + timedelta(seconds=30), NOW + timedelta(seconds=600)


def decided(order: Any = None, **about: Any) -> NextStep:
    state = make_state(**about.pop("state", {}))
    return next_step(order or make_order(), Circumstances(state=state, **about), NOW, RULES)


def paused(since: datetime, until: datetime | None = None, *, is_planned: bool = False) -> dict[str, Any]:
    return {"pauses": (Pause(paused_at=since, paused_until=until, is_planned=is_planned),)}


def waits(found: NextStep) -> list[Wait]:
    return [step.wait for step in found.steps]


@pytest.mark.parametrize(
    ("state", "wait"),
    [
        (OrderState.SUCCEEDED, Wait.FINAL),
        (OrderState.FAILED, Wait.FINAL),
        (OrderState.CANCELLED, Wait.CANCELLED),
        (OrderState.UNRESOLVED, Wait.UNRESOLVED),
    ],
)
def test_an_order_that_is_not_pending_is_not_polled(state: OrderState, wait: Wait) -> None:
    found = decided(make_order(state=state, due_at=LATER))
    assert (waits(found), found.polled_at) == ([wait], None)


def test_while_a_query_about_it_is_under_way_its_answer_is_waited_for() -> None:
    found = decided(make_order(lease_token=TOKEN, due_at=SOON), state=paused(NOW))
    (step,) = found.steps
    assert (step.wait, step.until, found.polled_at) == (Wait.IN_FLIGHT, SOON, NOW)


def test_during_its_grace_it_is_polled_at_the_end_of_it_at_the_earliest() -> None:
    found = decided(make_order(due_at=LATER))
    (step,) = found.steps
    assert (step.wait, step.until) == (Wait.GRACE, LATER)
    assert (found.polled_at, found.is_at_the_earliest) == (LATER, True)


@pytest.mark.parametrize("polled", [{"query_count": 1}, {"queried_at": NOW}])
def test_after_a_poll_the_next_one_is_waited_for(polled: dict[str, Any]) -> None:
    found = decided(make_order(due_at=LATER, **polled))
    assert (waits(found), found.polled_at) == ([Wait.NOT_DUE], LATER)


def test_a_planned_pause_is_named_and_puts_a_poll_off_that_falls_into_it() -> None:
    begins, ends = SOON, LATER
    plan = paused(begins, ends, is_planned=True)
    found = decided(state=plan, is_in_next_query=True)
    assert waits(found) == [Wait.NEXT_QUERY, Wait.PAUSE_PLANNED]
    assert (found.polled_at, found.is_at_the_earliest) == (NOW, False)
    put_off = decided(state=plan, slot_due_at=begins, is_in_next_query=True)
    assert (put_off.polled_at, put_off.is_at_the_earliest) == (ends, True)
    after = decided(state=plan, slot_due_at=ends, is_in_next_query=True)
    assert (after.polled_at, after.is_at_the_earliest) == (ends, False)


def test_a_poll_is_put_off_from_one_planned_pause_into_the_next_and_behind_both() -> None:
    night = Pause(paused_at=SOON, paused_until=LATER, is_planned=True)
    longer = Pause(paused_at=LATER - timedelta(seconds=1), paused_until=LATER + timedelta(hours=1), is_planned=True)
    later = Pause(paused_at=LATER + timedelta(hours=2), paused_until=LATER + timedelta(hours=3), is_planned=True)
    found = decided(state={"pauses": (later, longer, night)}, slot_due_at=SOON, is_in_next_query=True)
    assert waits(found) == [Wait.BUDGET, Wait.NEXT_QUERY, Wait.PAUSE_PLANNED]
    assert (found.steps[-1].until, found.polled_at) == (longer.paused_until, longer.paused_until)
    by_the_later = decided(state={"pauses": (later, longer, night)}, slot_due_at=later.paused_at)
    assert (by_the_later.steps[-1].until, by_the_later.polled_at) == (later.paused_until, later.paused_until)


def test_the_longest_wait_says_when() -> None:
    found = decided(state={"backoff_until": LATER}, slot_due_at=SOON, is_in_next_query=True)
    assert waits(found) == [Wait.BACK_OFF, Wait.BUDGET, Wait.NEXT_QUERY]
    assert (found.polled_at, found.is_at_the_earliest) == (LATER, False)


def test_what_is_over_is_no_reason() -> None:
    past = NOW - timedelta(seconds=1)
    found = decided(state={"backoff_until": past, **paused(past, past)}, slot_due_at=past)
    assert waits(found) == [Wait.QUEUE]


def test_a_pause_with_an_end_says_when_and_one_without_does_not() -> None:
    until = decided(state=paused(NOW, LATER))
    assert (waits(until), until.polled_at) == ([Wait.PAUSED, Wait.QUEUE], LATER)
    endless = decided(state=paused(NOW))
    assert (waits(endless), endless.polled_at) == ([Wait.PAUSED, Wait.QUEUE], None)


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"is_worker_alive": False}, [Wait.NO_WORKER]),
        ({"is_worker_alive": False, "is_configured": False}, [Wait.NOT_CONFIGURED, Wait.NO_WORKER]),
        ({"is_served": False}, [Wait.NOT_SERVED]),
    ],
)
def test_what_is_not_polled_has_no_time_of_its_next_poll(about: dict[str, bool], expected: list[Wait]) -> None:
    found = decided(**about)
    assert (waits(found), found.polled_at) == ([*expected, Wait.QUEUE], None)


def test_what_the_workers_settings_name_counts_and_not_what_ours_do() -> None:
    assert waits(decided(is_configured=False)) == [Wait.QUEUE]


@pytest.mark.parametrize(("others", "queries"), [(0, 0), (99, 0), (100, 1), (340, 3)])
def test_the_orders_before_it_take_a_query_a_window(others: int, queries: int) -> None:
    found = decided(others_due=others, slot_due_at=SOON)
    step = found.steps[-1]
    assert (step.wait, step.count, step.per_query) == (Wait.QUEUE, others, 100)
    assert found.polled_at == SOON + timedelta(seconds=queries * RULES.spacing_seconds)
    assert found.is_at_the_earliest


def test_several_slots_take_several_queries_a_window() -> None:
    about = Circumstances(state=make_state(), others_due=340)
    found = next_step(make_order(), about, NOW, replace(RULES, slots=2))
    assert found.polled_at == NOW + timedelta(seconds=RULES.spacing_seconds)


def test_one_order_a_query_takes_a_window_each() -> None:
    found = decided(others_due=3, orders_per_query=1)
    assert found.polled_at == NOW + timedelta(seconds=3 * RULES.spacing_seconds)


@pytest.mark.parametrize("lane", [Lane.ALONE, Lane.SUSPECT, Lane.LONE_SUSPECT])
def test_of_an_order_that_is_polled_apart_no_time_can_be_told(lane: Lane) -> None:
    found = decided(make_order(lane=lane))
    assert (waits(found), found.polled_at) == ([Wait.APART], None)
