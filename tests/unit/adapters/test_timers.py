"""The timers: an alarm calls for each thing once, in its time, and a throttle lets one caller through."""

import os
import threading
from collections.abc import Iterator

import pytest

from tests.support.waiting import eventually
from worker.adapters.clock import Alarm, Throttle


@pytest.fixture
def called() -> list[str]:
    """What an alarm has called, in that order."""
    return []


@pytest.fixture
def alarm(called: list[str]) -> Iterator[Alarm[str]]:
    alarm = Alarm(called.append, name="alarm-of-a-test")
    yield alarm
    alarm.close()
    assert "alarm-of-a-test" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("waits", "calls"),
    [
        ([{"late": 0.06, "soon": 0.02, "now": 0.0}], ["now", "soon", "late"]),
        # What is set again is called once, at the new time.
        ([{"moved": 3600.0}, {"moved": 0.01, "other": 0.05}], ["moved", "other"]),
        # Nothing waits for what was set before it.
        ([{"in an hour": 3600.0}, {"soon": 0.01}], ["soon"]),
    ],
)
def test_things_are_called_in_the_order_of_their_times(
    alarm: Alarm[str], called: list[str], waits: list[dict[str, float]], calls: list[str]
) -> None:
    for one in waits:
        alarm.set(one)
    eventually(lambda: len(called) == len(calls), "the calls")
    assert called == calls


def test_many_things_take_one_thread(alarm: Alarm[str], called: list[str]) -> None:
    alarm.set({f"thing {number}": 0.00001 * number for number in range(1000)})
    eventually(lambda: len(called) == 1000, "a thousand calls")
    assert [thread.name for thread in threading.enumerate()].count("alarm-of-a-test") == 1


def test_one_caller_passes_in_an_interval_and_it_is_open_until_it_is_closed() -> None:
    now = [1000.0]
    throttle = Throttle(60.0, clock=lambda: now[0])
    assert [throttle.is_open(), throttle.passes(), throttle.passes()] == [True, True, False]
    now[0] += 59.9
    assert not throttle.passes()
    now[0] += 0.1
    assert [throttle.is_open(), throttle.is_open()] == [True, True]
    throttle.close()
    assert [throttle.is_open(), throttle.passes()] == [False, False]


def test_each_kind_has_an_interval_of_its_own() -> None:
    throttle = Throttle(60.0, kinds=("one", "other"), clock=lambda: 1000.0)
    assert [throttle.passes("one"), throttle.passes("one"), throttle.passes("other")] == [True, False, True]


def test_processes_that_are_forked_later_share_the_throttle() -> None:
    throttle = Throttle(60.0, clock=lambda: 1000.0)
    child = os.fork()
    if child == 0:
        os._exit(0 if throttle.passes() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not throttle.passes()
