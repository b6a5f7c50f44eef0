"""Once in an interval, over processes."""

import os

from worker.adapters.interval import SharedInterval


def test_one_caller_passes_in_an_interval() -> None:
    now = [1000.0]
    interval = SharedInterval(60.0, clock=lambda: now[0])
    assert [interval.passes(), interval.passes()] == [True, False]
    now[0] += 59.9
    assert not interval.passes()
    now[0] += 0.1
    assert [interval.passes(), interval.passes()] == [True, False]


def test_processes_that_are_forked_later_share_the_interval() -> None:
    interval = SharedInterval(60.0, clock=lambda: 1000.0)
    child = os.fork()
    if child == 0:
        os._exit(0 if interval.passes() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not interval.passes()
