"""When an account is paused, and what operators begin, plan, end and cancel."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.unit.domain.builders import NOW, make_state
from worker.domain.accounts.waits import announced_pauses, pause, pause_fault, resume, without_pauses
from worker.domain.records.accounts import Pause
from worker.domain.records.coded_texts import TextCode
from worker.domain.records.operators import Act

HOUR, DAY, MICROSECOND = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
ACT = Act(actor="ann", reason="ticket 77", now=NOW, key="k")
BOB = Act(actor="bob", reason="longer", now=NOW + HOUR)
EVENING, MORNING = NOW + 5 * HOUR, NOW + 12 * HOUR
NIGHT = pause(make_state(), ACT, MORNING, EVENING)


def test_a_pause_with_an_end_ends_by_itself() -> None:
    until = NOW + 2 * HOUR
    state = pause(make_state(backoff_level=3), ACT, until)
    paused = Pause(paused_at=NOW, paused_until=until, paused_by="ann", pause_reason="ticket 77", act_key="k")
    assert state == make_state(backoff_level=3, pauses=(paused,))
    assert state.pause(NOW) == state.pause(until - MICROSECOND) == paused
    assert not state.is_paused(until)


def test_a_pause_without_an_end_is_ended_by_an_operator() -> None:
    state = pause(make_state(), ACT, None)
    assert state.is_paused(NOW + 400 * DAY)
    resumed = resume(state, NOW + 400 * DAY)
    assert (resumed.after, resumed.is_resumed) == (make_state(), True)
    assert (resumed.ended_back_off, resumed.waits_until) == (None, None)


def test_a_pause_has_begun_though_the_clock_is_set_back() -> None:
    assert pause(make_state(), ACT, None).is_paused(NOW - DAY)
    assert not NIGHT.is_paused(NOW - DAY)


def test_an_account_that_neither_pauses_nor_backs_off_is_not_resumed() -> None:
    for state in (make_state(), pause(make_state(), ACT, NOW), make_state(backoff_until=NOW, backoff_seconds=60.0)):
        resumed = resume(state, NOW)
        assert (resumed.after, resumed.is_resumed, resumed.waits_until) == (replace(state, pauses=()), False, None)


@pytest.mark.parametrize("ahead", [timedelta(seconds=60), 365 * DAY], ids=["as it was", "by a stepped clock"])
def test_a_resume_ends_a_back_off_as_well(ahead: timedelta) -> None:
    resumed = resume(make_state(backoff_until=NOW + ahead, backoff_seconds=60.0, backoff_level=1), NOW)
    assert resumed.after == make_state(backoff_level=1)
    assert resumed.is_resumed
    assert resumed.ended_back_off == NOW + timedelta(seconds=60)


def test_a_resume_ends_no_back_off_that_the_platform_asked_for() -> None:
    until = NOW + timedelta(seconds=60)
    state = make_state(backoff_until=until, backoff_seconds=60.0, backoff_requested_until=until)
    resumed = resume(state, NOW)
    assert (resumed.after, resumed.is_resumed, resumed.waits_until) == (state, False, until)
    resumed = resume(pause(state, ACT, None), NOW)
    assert (resumed.after, resumed.is_resumed, resumed.waits_until) == (state, True, until)


def test_pausing_again_replaces_the_pause() -> None:
    first = pause(make_state(), ACT, NOW + 2 * HOUR)
    (again,) = pause(first, BOB, None).pauses
    assert again == Pause(paused_at=NOW + HOUR, paused_until=None, paused_by="bob", pause_reason="longer")


def test_pausing_again_ends_no_planned_pause_that_has_begun() -> None:
    again = pause(NIGHT, replace(BOB, now=EVENING), EVENING + HOUR)
    assert [one.paused_by for one in again.pauses] == ["ann", "bob"]
    assert again.is_paused(MORNING - MICROSECOND)


def test_a_planned_pause_begins_and_ends_by_itself() -> None:
    (planned,) = NIGHT.pauses
    for now, is_paused in ((NOW, False), (EVENING - MICROSECOND, False), (EVENING, True), (MORNING, False)):
        assert (NIGHT.is_paused(now), NIGHT.pause(now)) == (is_paused, planned if is_paused else None)
    assert NIGHT.planned_pauses(EVENING - MICROSECOND) == [planned]
    assert NIGHT.planned_pauses(EVENING) == make_state().planned_pauses(NOW) == []


def test_a_pause_that_is_to_begin_by_now_is_on_at_once() -> None:
    for begins in (NOW, NOW - HOUR):
        state = pause(make_state(), ACT, MORNING, begins)
        assert (state.pause(NOW), state.planned_pauses(NOW)) == (state.pauses[0], [])
        assert state.pauses[0].paused_at == begins


def test_a_pause_that_is_to_begin_by_now_ends_no_other_and_is_ended_by_no_other() -> None:
    held = pause(make_state(), BOB, None)
    begun = pause(held, replace(ACT, now=BOB.now), MORNING, NOW)
    assert begun.pause(MORNING) == held.pause(MORNING)
    again = pause(begun, BOB, BOB.now + HOUR)
    assert [(one.paused_by, one.paused_until) for one in again.pauses] == [("ann", MORNING), ("bob", NOW + 2 * HOUR)]


def test_a_pause_and_a_planned_one_stand_beside_each_other() -> None:
    both = pause(NIGHT, BOB, NOW + 2 * HOUR)
    other = pause(pause(make_state(), BOB, NOW + 2 * HOUR), ACT, MORNING, EVENING)
    assert {*both.pauses} == {*other.pauses}
    held = [both.pause(NOW + hours * HOUR) for hours in (1, 2, 5, 12)]
    assert [one and one.paused_by for one in held] == ["bob", None, "ann", None]


def test_a_second_plan_stands_beside_the_first_and_the_next_one_comes_first() -> None:
    nights = NIGHT
    for days in (2, 1):
        nights = pause(nights, BOB, MORNING + days * DAY, EVENING + days * DAY)
    assert [one.paused_at for one in nights.planned_pauses(NOW)] == [EVENING + days * DAY for days in (0, 1, 2)]
    held = [nights.is_paused(time + days * DAY) for days in (0, 1, 2) for time in (EVENING, MORNING)]
    assert held == [True, False] * 3
    first, *others = nights.planned_pauses(NOW)
    assert without_pauses(nights, [first]).planned_pauses(NOW) == others
    assert without_pauses(nights, nights.pauses) == make_state()


@pytest.mark.parametrize(
    ("until", "by", "ends"),
    [
        (EVENING + HOUR, "ann", MORNING),
        (MORNING + HOUR, "bob", MORNING + HOUR),
        (None, "bob", None),
    ],
    ids=["the planned one", "the other", "no end"],
)
def test_of_overlapping_pauses_the_one_that_ends_last_is_shown(
    until: datetime | None, by: str, ends: datetime | None
) -> None:
    state = pause(NIGHT, BOB, until)
    held = state.pause(EVENING)
    assert held is not None
    assert (held.paused_by, held.paused_until) == (by, ends)
    assert state.pauses_on(EVENING) == sorted(state.pauses, key=lambda one: one is not held)


def test_planning_the_same_again_leaves_one_plan_and_another_reason_makes_two() -> None:
    (again,) = pause(NIGHT, replace(ACT, now=NOW + HOUR, key="k2"), MORNING, EVENING).pauses
    assert again == replace(NIGHT.pauses[0], act_key="k2")
    assert len(pause(NIGHT, replace(ACT, reason="longer"), MORNING, EVENING).pauses) == 2


def test_overlapping_plans_pause_from_the_first_begin_to_the_last_end() -> None:
    both = pause(NIGHT, BOB, MORNING + HOUR, MORNING - HOUR)
    times = (EVENING, MORNING - HOUR, MORNING, MORNING + HOUR)
    assert [both.is_paused(time) for time in times] == [True, True, True, False]


def test_a_plan_whose_end_has_passed_is_ignored_and_dropped_by_the_next_act() -> None:
    assert (NIGHT.pause(MORNING), NIGHT.planned_pauses(MORNING), NIGHT.lasting_pauses(MORNING)) == (None, [], ())
    later = replace(BOB, now=MORNING)
    assert [one.paused_by for one in pause(NIGHT, later, None, MORNING + DAY).pauses] == ["bob"]


def test_a_resume_ends_all_that_is_on_and_leaves_what_is_to_come() -> None:
    assert resume(NIGHT, EVENING).after == make_state()
    assert not resume(NIGHT, NOW).is_resumed
    both = pause(pause(NIGHT, replace(BOB, now=EVENING), None), ACT, MORNING + DAY, EVENING + DAY)
    resumed = resume(both, EVENING)
    assert resumed.is_resumed
    assert [one.paused_at for one in resumed.after.pauses] == [EVENING + DAY]


@pytest.mark.parametrize(
    ("begins", "ends", "fault"),
    [
        (None, NOW + MICROSECOND, None),
        (NOW - HOUR, MORNING, None),
        (EVENING, MORNING, None),
        (EVENING, NOW + 30 * DAY, None),
        (None, NOW, TextCode.PAUSE_IS_OVER),
        (EVENING, EVENING, TextCode.PAUSE_ENDS_FIRST),
        (MORNING, EVENING, TextCode.PAUSE_ENDS_FIRST),
        (EVENING, NOW + 30 * DAY + MICROSECOND, TextCode.PAUSE_TOO_FAR_AHEAD),
    ],
)
def test_a_pause_ends_after_it_begins_and_within_30_days(
    begins: datetime | None, ends: datetime, fault: TextCode | None
) -> None:
    assert pause_fault(begins, ends, NOW) is fault


def test_pauses_that_are_on_or_planned_are_announced_with_their_accounts_the_earliest_first() -> None:
    night = MORNING + DAY, EVENING + DAY
    states = [
        pause(pause(make_state(account="default"), BOB, *night), ACT, MORNING, EVENING),
        pause(make_state(account="shop"), ACT, MORNING, EVENING),
        pause(make_state(account="north"), BOB, NOW + 2 * HOUR),
        make_state(account="south"),
    ]
    shown = [(one.paused_by, accounts) for one, accounts in announced_pauses(states, NOW)]
    assert shown == [("bob", ["north"]), ("ann", ["default", "shop"])]
    assert [accounts for _, accounts in announced_pauses(states, EVENING)] == [["default", "shop"], ["default"]]
    assert announced_pauses(states, MORNING + DAY) == []


def test_a_pause_without_an_end_is_not_announced_and_hides_no_other() -> None:
    assert announced_pauses([pause(make_state(), ACT, None)], NOW) == []
    both = pause(NIGHT, BOB, None)
    assert [one.paused_by for one, _ in announced_pauses([both], EVENING)] == ["ann"]
    longer = pause(NIGHT, BOB, MORNING + HOUR)
    assert [one.paused_by for one, _ in announced_pauses([longer], EVENING)] == ["bob", "ann"]


def test_a_plan_is_announced_with_all_of_its_accounts_once_it_is_the_next_one_of_any() -> None:
    own = pause(make_state(account="default"), BOB, EVENING, NOW + 2 * HOUR)
    states = [pause(own, ACT, MORNING, EVENING), pause(make_state(account="shop"), ACT, MORNING, EVENING)]
    assert [accounts for _, accounts in announced_pauses(states, NOW)] == [["default"], ["default", "shop"]]
