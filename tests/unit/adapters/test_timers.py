"""The timers: an alarm calls for each thing once, in its time, and a throttle lets one caller through."""

import os
import threading
from collections.abc import Iterator

import pytest

from tests.support.waiting import eventually
from worker.adapters.timers import Alarm, Throttle


class Called:
    """What an alarm has called, in that order."""

    def __init__(self) -> None:
        self.things: list[str] = []
        self.threads: set[int] = set()

    def __call__(self, thing: str) -> None:
        self.things.append(thing)
        self.threads.add(threading.get_ident())


@pytest.fixture
def called() -> Called:
    return Called()


@pytest.fixture
def alarm(called: Called) -> Iterator[Alarm[str]]:
    alarm = Alarm(called, name="alarm-of-a-test")
    yield alarm
    alarm.close()


def test_things_are_called_in_the_order_of_their_times(alarm: Alarm[str], called: Called) -> None:
    alarm.set({"late": 0.06, "soon": 0.02, "now": 0.0})
    eventually(lambda: len(called.things) == 3, "three calls")
    assert called.things == ["now", "soon", "late"]


def test_what_is_set_again_is_called_once_at_the_new_time(alarm: Alarm[str], called: Called) -> None:
    alarm.set({"moved": 3600.0, "other": 0.05})
    alarm.set({"moved": 0.01})
    eventually(lambda: "other" in called.things, "the other call")
    assert called.things == ["moved", "other"]


def test_what_is_set_sooner_than_all_before_it_does_not_wait_for_them(alarm: Alarm[str], called: Called) -> None:
    alarm.set({"in an hour": 3600.0})
    alarm.set({"soon": 0.01})
    eventually(lambda: called.things == ["soon"], "the call that was set last")


def test_many_things_take_one_thread(alarm: Alarm[str], called: Called) -> None:
    alarm.set({f"thing {number}": 0.00001 * number for number in range(1000)})
    eventually(lambda: len(called.things) == 1000, "a thousand calls")
    assert len(called.threads) == 1


def test_a_closed_alarm_calls_nothing_and_leaves_no_thread(called: Called) -> None:
    alarm = Alarm(called, name="alarm-that-is-closed")
    alarm.set({"in an hour": 3600.0})
    alarm.close()
    assert called.things == []
    assert "alarm-that-is-closed" not in {thread.name for thread in threading.enumerate()}


def test_one_caller_passes_in_an_interval() -> None:
    now = [1000.0]
    throttle = Throttle(60.0, clock=lambda: now[0])
    assert [throttle.passes(), throttle.passes()] == [True, False]
    now[0] += 59.9
    assert not throttle.passes()
    now[0] += 0.1
    assert [throttle.passes(), throttle.passes()] == [True, False]


def test_each_kind_has_an_interval_of_its_own() -> None:
    throttle = Throttle(60.0, kinds=("one", "other"), clock=lambda: 1000.0)
    assert [throttle.passes("one"), throttle.passes("one"), throttle.passes("other")] == [True, False, True]


def test_it_is_open_until_it_is_closed() -> None:
    now = [1000.0]
    throttle = Throttle(60.0, clock=lambda: now[0])
    assert [throttle.is_open(), throttle.is_open()] == [True, True]
    throttle.close()
    assert not throttle.is_open()
    now[0] += 60.0
    assert throttle.is_open()


def test_processes_that_are_forked_later_share_the_throttle() -> None:
    throttle = Throttle(60.0, clock=lambda: 1000.0)
    child = os.fork()
    if child == 0:
        os._exit(0 if throttle.passes() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not throttle.passes()
