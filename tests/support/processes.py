"""Programs of the project as processes of their own: worker, beat, the simulated platform, a caller of tasks."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.raw_query import APP_ID, SID, TOKEN
from tests.support.sql import column_of, execute
from tests.support.waiting import eventually
from worker.adapters.child_processes import Child, environment_of_programs, wait_until

ACCOUNT = {"RECONCILER_ACCOUNT_SID": SID, "RECONCILER_AUTH_TOKEN": TOKEN, "RECONCILER_APP_ID": APP_ID}
CELERY = (sys.executable, "-m", "celery")
SERVE = (sys.executable, "-c", "from worker.cli import main; main()", "serve")
NO_BROKER = "redis://127.0.0.1:1/0"
"""Refuses every connection. The default of the setting is where a Redis of this machine may listen."""
PLATFORM = (sys.executable, "-c", "import typer; from worker.simulator.command import platform; typer.run(platform)")

FAST = {
    "query_window_seconds": 1.0,
    "query_margin_seconds": 0.05,
    # No query meets it: a busy machine may take seconds from a grant to the first byte.
    "request_deadline_seconds": 20,
    "connect_timeout_seconds": 0.5,
    "callback_grace_seconds": 0.05,
    "tick_seconds": 0.1,
}
"""Settings of a worker whose platform answers at once and allows a query a second."""

_PATIENCE_SECONDS = 100.0


def environment(**settings: object) -> dict[str, str]:
    """The environment of a program: an account, and these settings without RECONCILER_ and in lower case.

    A test that starts a worker or beat names its broker.
    """
    named = {"broker_url": NO_BROKER, **settings}
    given = {f"RECONCILER_{name.upper()}": str(value) for name, value in named.items()}
    return environment_of_programs({**ACCOUNT, **given})


def accounts_file(folder: Path, accounts: Mapping[str, Mapping[str, str]]) -> Path:
    """A file of accounts, each with its settings, that only its owner may read."""
    file = folder / "accounts.toml"
    lines = {name: [f"{key} = {json.dumps(value)}\n" for key, value in held.items()] for name, held in accounts.items()}
    file.write_text("".join(f"[{name}]\n{''.join(held)}" for name, held in lines.items()), "utf-8")
    file.chmod(0o600)
    return file


def alike_accounts(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Accounts that share nothing but their token: sid-NAME and app-NAME."""
    return {name: {"account_sid": f"sid-{name}", "auth_token": TOKEN, "app_id": f"app-{name}"} for name in names}


class Program(Child):
    """A child that runs beside its log, away from the checkout: no program reads the `.env` there."""

    lines_in_errors = 10_000

    def __init__(self, *command: str, env: Mapping[str, str], log: Path) -> None:
        super().__init__(command, name=log.stem, env=env, log=log, cwd=log.parent)

    def children(self) -> list[int]:
        """The process ids of its children, as far as they live."""
        return [child for child, parent in _parents().items() if parent == self.pid]

    def send_to_all(self, number: signal.Signals) -> None:
        """Send it a signal, and its children."""
        for process in (self.pid, *self.children()):
            # A child may end by itself once its parent is killed.
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def wait_for(self, text: str, *, times: int = 1, seconds: float = 90.0) -> None:
        """Return once it has written a text so often. Raises ChildError, with its output, when it does not."""
        wait_until(
            lambda: self.output.count(text) >= times, repr(text), seconds=seconds, poll_seconds=0.03, children=[self]
        )

    def wait(self, *, seconds: float | None = _PATIENCE_SECONDS) -> int:
        """Wait for its end, as `Child.wait` does, but not for ever."""
        return super().wait(seconds=seconds)

    def stop(self, *, seconds: float = _PATIENCE_SECONDS, how: signal.Signals = signal.SIGTERM) -> int:
        """End it as a supervisor does; returns its exit status. Raises AssertionError where it has to be killed."""
        status = super().stop(seconds=seconds, how=how)
        assert status != -signal.SIGKILL, f"{self} within {seconds:g} s{self.end_of_log()}"
        return status


def is_running(process: int) -> bool:
    """Whether a process lives; one that has ended and was not reaped, as in some containers, does not."""
    try:
        os.kill(process, 0)
        return ") Z " not in Path(f"/proc/{process}/stat").read_text("utf-8") if os.path.isdir("/proc/self") else True
    except (ProcessLookupError, FileNotFoundError):
        return False


def stop_processes(processes: Sequence[int]) -> None:
    """Stop processes until SIGCONT, on Linux. One thread receives the signal; on a busy machine the others go on for a
    while: return once they have stopped, too."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    eventually(lambda: all(map(_is_stopped, processes)), "processes stopped with all of their threads")


def _is_stopped(process: int) -> bool:
    try:
        return all(") T " in stat.read_text("utf-8") for stat in Path("/proc").glob(f"{process}/task/*/stat"))
    except (FileNotFoundError, ProcessLookupError):
        # A thread has ended just now.
        return False


def end_with_all_descendants() -> None:
    """From now on SIGTERM and Ctrl-C end this process and, hard, all that it started: nothing stays behind."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    parents, found = _parents(), [os.getpid()]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    for process in found[1:]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os._exit(128 + number)


def _parents() -> dict[int, int]:
    """The parent of each process of this machine."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(pid): int(parent) for pid, parent in map(str.split, told.splitlines())}


def celery(*arguments: str, env: Mapping[str, str], log: Path, program: Sequence[str] = CELERY) -> Program:
    """`celery -A worker ...`, by this environment's celery or another one's."""
    return Program(*program, "-A", "worker", *arguments, env=env, log=log)


SHOW_FORKS = """
import gc, os

def show():
    os.write(2, f"frozen {gc.get_freeze_count()} others {len(gc.get_objects())}\\n".encode())

os.register_at_fork(after_in_child=show)
"""
"""The beginning of a program: each process that it forks prints how many objects a garbage collection there leaves
alone, and at how many it looks."""


def forks(program: Program) -> list[tuple[int, int]]:
    """What the forked processes of such a program have printed."""
    found = re.findall(r"frozen (\d+) others (\d+)", program.output)
    return [(int(frozen), int(others)) for frozen, others in found]


def node_of(name: str = "worker") -> str:
    """The node of a worker that `running_worker` has started: other processes use the same broker."""
    return f"{name}-{os.getpid()}@tests"


def inspected(
    command: str, *options: str, env: Mapping[str, str], name: str = "worker"
) -> subprocess.CompletedProcess[str]:
    """`celery inspect` of one worker; it ends with that worker's reply. Of all workers it would wait for a second."""
    asked = (*CELERY, "-A", "worker", "inspect", command, "--destination", node_of(name), "--timeout", "60", *options)
    return subprocess.run(asked, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=90)


@contextmanager
def running_worker(
    env: Mapping[str, str], folder: Path, *arguments: str, name: str = "worker", program: Sequence[str] = CELERY
) -> Iterator[Program]:
    """A worker of two processes that is ready for tasks."""
    with celery(
        *("worker", "--concurrency", "2", "--hostname", node_of(name), *arguments),
        env=env,
        log=folder / f"{name}.log",
        program=program,
    ) as worker:
        worker.wait_for(" ready.")
        yield worker


def open_slots(database_url: str) -> None:
    """Open the slots of a worker that has just started: new ones wait for a whole reservation, deadline and window."""
    eventually(lambda: column_of(database_url, "SELECT count(*) FROM query_budgets") != [0], "the rows of the slots")
    execute(database_url, "UPDATE query_budgets SET due_at = '2016-01-31 00:00:00', boot_due_us = 0, wait_us = 0")


def refusal_to_start(env: Mapping[str, str], folder: Path, *arguments: str) -> str:
    """The one line that a worker prints which does not start."""
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "worker", "worker", *arguments]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert (done.returncode, len(lines)) == (1, 1), lines
    assert lines[0].startswith("the worker does not start: ")
    return lines[0]


@contextmanager
def running_beat(
    env: Mapping[str, str], folder: Path, name: str = "beat", program: Sequence[str] = CELERY
) -> Iterator[Program]:
    """A beat that has started; it logs nothing of its ticks."""
    with celery("beat", env=env, log=folder / f"{name}.log", program=program) as beat:
        beat.wait_for("is starting")
        yield beat


@contextmanager
def running_platform(
    env: Mapping[str, str], folder: Path, *options: str, program: Sequence[str] = PLATFORM
) -> Iterator[str]:
    """The simulated platform, with the limit of these settings; yields its URL."""
    # A window of seconds is for a platform on loopback alone.
    env = {"RECONCILER_PLATFORM_URL": "http://127.0.0.1:1", **env}
    with Program(*program, "--port", "0", "--json", *options, env=env, log=folder / "platform.log") as platform:
        platform.wait_for("}\n")
        ready = next(line for line in platform.output.splitlines() if line.startswith("{"))
        yield json.loads(ready)["url"]


@contextmanager
def running_serve(
    env: Mapping[str, str], folder: Path, *options: str, name: str = "serve", program: Sequence[str] = SERVE
) -> Iterator[tuple[Program, str]]:
    """`reconciler serve` on a free port of this machine; yields it with its URL."""
    log = folder / f"{name}.log"
    given = {**env, "RECONCILER_LOG_FORMAT": "json"}
    with Program(*program, "--port", "0", *options, env=given, log=log) as serve:
        serve.wait_for('"serve_started"')
        started = next(json.loads(line) for line in serve.output.splitlines() if '"serve_started"' in line)
        yield serve, started["listening"][0]


# All that a billing system needs to know of the worker: Celery's protocol, a task's name and its queue.
_CALLER = """
import json, sys
from celery import Celery
app = Celery(broker=sys.argv[1], backend=sys.argv[2] or None)
for line in sys.stdin:
    name, args = json.loads(line)
    result = app.send_task(name, args, queue="reconciler.orders")
    if sys.argv[2]:
        print(json.dumps(result.get(timeout=60)), flush=True)
"""


@contextmanager
def running_caller(broker: str) -> Iterator[Callable[..., Any]]:
    """A caller that imports nothing of the project: sends a task with its arguments, and returns the answer."""
    with Child([sys.executable, "-c", _CALLER, broker, broker], name="caller", is_piped=True) as program:
        tasks, answers = program.pipes

        def call(name: str, *args: object) -> Any:
            print(json.dumps((name, args)), file=tasks, flush=True)
            return json.loads(answers.readline())

        yield call


def send_tasks(broker: str, *tasks: tuple[str, list[Any]], backend: str = "") -> list[Any]:
    """Send tasks from a program that imports nothing of the project; returns their answers where there is a backend."""
    done = subprocess.run(
        [sys.executable, "-c", _CALLER, broker, backend],
        input="".join(f"{json.dumps(task)}\n" for task in tasks),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
