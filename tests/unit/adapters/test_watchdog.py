"""What hangs in a process ends it, and what only takes long does not."""

import subprocess
import sys
import threading

import pytest

from tests.support.waiting import eventually
from tests.support.watching import PATIENCE, Watching
from worker.adapters.clock import HostClock
from worker.adapters.watchdog import EXIT_STATUS, Watchdog

LONG = int(2 * PATIENCE)


@pytest.fixture
def watching() -> Watching:
    return Watching()


def test_what_makes_no_step_hangs_and_later_ends_the_process(watching: Watching) -> None:
    watching.dog.begin("a pass")
    watching.pass_time(100)
    assert watching.dog.seconds_hanging() is None
    watching.pass_time(1)
    assert watching.dog.seconds_hanging() == 101
    watching.pass_time(LONG - 101)
    assert watching.ended == []
    watching.pass_time(1)
    assert watching.ended == ["a pass"]


def test_what_goes_on_or_has_ended_does_not_hang(watching: Watching) -> None:
    slow, short = watching.dog.begin("slow"), watching.dog.begin("short")
    short.end()
    short.end()
    for _ in range(5):
        watching.pass_time(90)
        slow.step()
    assert watching.dog.seconds_hanging() is None
    assert watching.ended == []


def test_a_machine_that_slept_or_a_process_that_was_stopped_has_not_hung(watching: Watching) -> None:
    watching.dog.begin("a pass")
    for _ in range(10):
        watching.clock.advance(86_400)
        watching.dog.look()
    assert watching.dog.seconds_hanging() is None
    watching.clock.advance(-86_400)
    watching.dog.look()
    watching.pass_time(LONG - 20)
    assert watching.ended == []
    watching.pass_time(1)
    assert watching.ended == ["a pass"]


def test_a_thread_makes_steps_of_what_it_works_at_and_of_nothing_else(watching: Watching) -> None:
    watching.dog.step()
    mine = watching.dog.begin("mine")
    watching.dog.begin("another")
    mine.here()
    watching.pass_time(LONG)
    watching.dog.step()
    watching.pass_time(1)
    assert watching.ended == ["another"]


def test_a_thread_that_returns_is_done(watching: Watching) -> None:
    watching.dog.start_thread(watching.dog.step, name="short").join()
    watching.pass_time(LONG + 1)
    assert watching.ended == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_an_error_has_ended_hangs(watching: Watching) -> None:
    def die() -> None:
        raise MemoryError

    watching.dog.start_thread(die, name="ticks").join()
    watching.pass_time(LONG + 1)
    assert watching.ended == ["the thread ticks"]


def test_a_lack_of_memory_while_it_looks_does_not_end_the_watch() -> None:
    looks: list[None] = []
    ended = threading.Event()

    class Poor(HostClock):
        def boot(self) -> float:
            looks.append(None)
            if len(looks) == 3:
                raise MemoryError
            return super().boot()

    dog = Watchdog(Poor(), patience_seconds=0.05, period_seconds=0.01, end=lambda *_: ended.set())
    dog.begin("a pass")
    dog.start()
    eventually(ended.is_set, "the end")
    dog.close()
    assert len(looks) > 3


PROGRAM = """
import sys, threading
from worker.adapters.clock import HostClock
from worker.adapters.log import configure_logging
from worker.adapters.watchdog import Watchdog

configure_logging("INFO", "{form}")
if "{stuck}":
    # As a thread that died with a lock of the log: no other record is written any more.
    import logging, signal
    logging.getLogger().handlers[0].acquire()
    real, signal.setitimer = signal.setitimer, lambda which, _seconds: real(which, 0.3)

entered = threading.Event()

def query_the_platform(mobile):
    entered.set()
    threading.Event().wait()

dog = Watchdog(HostClock(), patience_seconds=0.05, period_seconds=0.01)
dog.start_thread(lambda: query_the_platform("the-phone-of-somebody"), name="exchange")
entered.wait()
dog.start()
threading.Event().wait()
"""


def run(form: str, stuck: str = "") -> "subprocess.CompletedProcess[str]":
    program = PROGRAM.replace("{form}", form).replace("{stuck}", stuck)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_process_ends_with_one_line_that_says_where_each_thread_stands(form: str) -> None:
    ended = run(form)
    assert ended.returncode == EXIT_STATUS
    (line,) = ended.stderr.splitlines()
    assert "process_hangs" in line
    assert "the thread exchange" in line
    assert "query_the_platform" in line
    assert "the-phone" not in line


def test_the_process_ends_even_where_the_log_hangs() -> None:
    ended = run("json", stuck="yes")
    assert ended.returncode == -14
    assert ended.stderr == ""
