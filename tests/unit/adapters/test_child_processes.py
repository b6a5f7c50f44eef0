"""A child is waited for, stopped and told of when it ends early; nothing of it stays."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import is_running
from tests.support.waiting import eventually
from worker.adapters.child_processes import (
    Child,
    ChildError,
    ChildGroup,
    environment_of_programs,
    stop_signals_handled,
    wait_until,
)

FOREVER = "print('ready', flush=True); time.sleep(600)"
STUBBORN = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"
PARENT = f"print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True); {FOREVER}"

Start = Callable[[str], Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    children: list[Child] = []

    def started(code: str) -> Child:
        command = [sys.executable, "-c", f"import os, signal, subprocess, sys, time; {code}"]
        children.append(Child(command, name="helper", log=tmp_path / "helper.log"))
        return children[-1]

    yield started
    for child in children:
        child.kill()


def wait_for_ready(child: Child) -> None:
    wait_until(lambda: "ready" in child.output, "readiness", seconds=30, poll_seconds=0.01, children=[child])


def test_one_that_is_ready_is_stopped_by_a_signal_and_its_status_says_so(start: Start) -> None:
    child = start(FOREVER)
    wait_for_ready(child)
    assert str(child) == f"helper (process {child.pid})"
    assert child.stop(seconds=30) == -signal.SIGTERM
    assert str(child) == "helper ended with signal 15"


def test_one_that_ends_early_is_told_with_the_end_of_its_log(start: Start, tmp_path: Path) -> None:
    child = start("print('\\n'.join(map(str, range(20)))); sys.exit(3)")
    with pytest.raises(ChildError) as told:
        wait_for_ready(child)
    first, *lines = str(told.value).splitlines()
    assert first == f"helper ended with status 3 by itself; the end of {tmp_path / 'helper.log'}:"
    assert lines == [str(number) for number in range(8, 20)]


def test_what_one_did_directly_before_its_end_counts(start: Start) -> None:
    wait_for_ready(start("print('ready')"))


def test_what_does_not_come_in_time_is_told_by_its_name(start: Start) -> None:
    with pytest.raises(ChildError, match=r"^the flood did not come within 0\.05 s; the end of .*helper\.log:"):
        wait_until(lambda: False, "the flood", seconds=0.05, poll_seconds=0.01, children=[start(FOREVER)])


@pytest.mark.parametrize("before", [signal.SIGCONT, signal.SIGSTOP])
def test_one_that_does_not_listen_is_killed(start: Start, before: signal.Signals) -> None:
    child = start(STUBBORN)
    wait_for_ready(child)
    child.send_signal(before)
    assert child.stop(seconds=0.05) == -signal.SIGKILL


def test_what_a_killed_child_has_started_ends_with_it(start: Start) -> None:
    child = start(PARENT)
    wait_for_ready(child)
    grandchild = int(child.output.splitlines()[0])
    child.kill()
    eventually(lambda: not is_running(grandchild), "the end of what the child has started")


def test_a_group_with_a_guard_ends_when_its_starter_is_killed(start: Start) -> None:
    child = start(
        "from worker.adapters.child_processes import Child, ChildGroup; group = ChildGroup(has_guard=True);"
        f" print(Child([sys.executable, '-c', 'import time; time.sleep(600)'], name='one', group=group).pid); {FOREVER}"
    )
    wait_for_ready(child)
    member = int(child.output.splitlines()[0])
    assert os.getpgid(member) not in (child.pid, member, os.getpgid(0))
    child.send_signal(signal.SIGKILL)
    eventually(lambda: not is_running(member), "the end of the group")


def test_a_piped_child_is_written_to_and_read_from() -> None:
    echo = [sys.executable, "-c", "import sys; [print(line, end='', flush=True) for line in sys.stdin]"]
    with Child(echo, name="echo", is_piped=True) as child:
        questions, answers = child.pipes
        print("once", file=questions, flush=True)
        assert answers.readline() == "once\n"
    with ChildGroup() as group, pytest.raises(ValueError, match="one was started without pipes"):
        _ = Child(["true"], name="one", group=group).pipes


def test_signals_reach_the_handler_and_those_that_are_ignored_stay_ignored() -> None:
    numbers: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals_handled(numbers.append):
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            eventually(lambda: len(numbers) >= 2, "two signals")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert numbers == [signal.SIGTERM, signal.SIGINT]


def test_a_program_gets_these_settings_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("reconciler_auth_token", "of the caller")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = environment_of_programs({"RECONCILER_APP_ID": "app"})
    assert {name for name in environment if name.upper().startswith("RECONCILER_")} == {"RECONCILER_APP_ID"}
    assert environment["PYTHONPATH"].endswith(f"{os.pathsep}/somewhere")
    assert "RECONCILER_APP_ID" not in os.environ
