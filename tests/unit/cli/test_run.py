"""Programs that run together end together, and leave nothing running."""

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from tests.support.processes import is_running
from tests.support.waiting import eventually
from worker.adapters.child_processes import Child
from worker.cli.run import run_together

FOREVER = "import time; time.sleep(600)"
WAITS = "pathlib.Path(sys.argv[1]).touch(); " + FOREVER
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS
COUNTS = "signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], 'a').write('T'), called.put(1)))"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stage:
    """Runs programs that touch a file of theirs when they are ready."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, int] = {}
        self.stopped = 0

    def program(self, name: str, code: str) -> list[str]:
        modules = "import os, pathlib, queue, signal, subprocess, sys, time"
        return [sys.executable, "-c", f"{modules}; {code}", str(self.folder / name)]

    def ready(self, *names: str) -> None:
        for name in names:
            eventually((self.folder / name).exists, f"{name} is ready")

    def run(self, *, then: Callable[[], None] = lambda: None, patience: float = 60.0, **programs: str) -> Child | None:
        """Run them; `then` is done when all were started."""

        def started(children: Collection[Child]) -> None:
            self.processes.update({child.name: child.pid for child in children})
            then()

        def stopping() -> None:
            self.stopped += 1

        commands = {name: self.program(name, code) for name, code in programs.items()}
        return run_together(commands, patience_seconds=patience, started=started, stopping=stopping)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    before = [signal.getsignal(number) for number in SIGNALS]
    made = Stage(tmp_path)
    yield made
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not any(is_running(process) for process in made.processes.values())


def test_when_one_ends_by_itself_the_others_are_stopped_and_it_is_named(stage: Stage) -> None:
    ended = stage.run(worker="sys.exit(3)", beat=FOREVER)
    assert ended
    assert (ended.name, ended.wait()) == ("worker", 3)
    assert str(ended) == "worker ended with status 3"
    assert stage.stopped == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_passed_on_once_and_all_end_in_order(stage: Stage, number: signal.Signals) -> None:
    ready = "pathlib.Path(sys.argv[1] + '.ready').touch()"
    # Not signal.pause(): the signal may come before it, and no second one wakes the program.
    code = f"called = queue.SimpleQueue(); {COUNTS}; {ready}; called.get(); time.sleep(0.2)"

    def then() -> None:
        stage.ready("worker.ready", "beat.ready")
        os.kill(os.getpid(), number)

    assert stage.run(then=then, worker=code, beat=code) is None
    assert (stage.folder / "worker").read_text("utf-8") == "T"
    assert (stage.folder / "beat").read_text("utf-8") == "T"


def test_a_second_signal_ends_those_that_do_not_listen(stage: Stage) -> None:
    def then() -> None:
        stage.ready("worker", "beat")
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    assert stage.run(then=then, worker=STUBBORN, beat=WAITS) is None


def test_a_program_that_does_not_end_in_time_is_killed(stage: Stage) -> None:
    def then() -> None:
        stage.ready("worker")
        os.kill(os.getpid(), signal.SIGTERM)

    assert stage.run(then=then, patience=0.05, worker=STUBBORN, beat=FOREVER) is None


def test_what_a_killed_program_started_is_ended_and_its_signal_is_reported(stage: Stage) -> None:
    child = "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    write = "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); os.kill(os.getpid(), signal.SIGKILL)"
    ended = stage.run(worker=child + write, beat=FOREVER)
    assert str(ended) == "worker ended with signal 9"
    grandchild = int((stage.folder / "worker").read_text("utf-8"))
    eventually(lambda: not is_running(grandchild), "the child of the killed program is gone")


def test_where_one_cannot_be_started_the_other_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "worker"
    write = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(600)"
    programs = {"worker": [sys.executable, "-c", write], "beat": [str(tmp_path / "nowhere")]}
    with pytest.raises(FileNotFoundError):
        run_together(programs, patience_seconds=1, started=lambda _: None, stopping=lambda: None)
    # It may have been ended before it came to write its number, or while it did.
    if pid_file.exists() and (number := pid_file.read_text("utf-8")):
        assert not is_running(int(number))
