"""Programs of the project as processes of their own: worker, beat, the simulated platform, a caller of tasks."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.raw_query import APP_ID, SID, TOKEN
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
ACCOUNT = {"RECONCILER_ACCOUNT_SID": SID, "RECONCILER_AUTH_TOKEN": TOKEN, "RECONCILER_APP_ID": APP_ID}
CELERY = (sys.executable, "-m", "celery")
PLATFORM = (sys.executable, "-c", "import typer; from worker.simulator.command import platform; typer.run(platform)")

_PATIENCE_SECONDS = 40.0


def environment(**settings: object) -> dict[str, str]:
    """The environment of a program: an account, and these settings without RECONCILER_ and in lower case."""
    given = {f"RECONCILER_{name.upper()}": str(value) for name, value in settings.items()}
    # Unbuffered: the tests wait for what a program writes.
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **ACCOUNT, **given}


class Program:
    """A running program and what it has written so far. Use it as a context, which always ends the program."""

    def __init__(self, *command: str, env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            # A session of its own, so that its children can be ended with it.
            self._process = subprocess.Popen(
                command,
                env=dict(env),
                # No program reads the checkout's .env.
                cwd=log.parent,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has written, errors included."""
        return self._log.read_text(errors="replace")

    def children(self) -> list[int]:
        """The process ids of its children, as far as they live."""
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        return [child for child, parent in pairs if parent == self.pid]

    def wait_for(self, text: str, *, times: int = 1, seconds: float = _PATIENCE_SECONDS) -> None:
        """Return once it has written a text `times` times. Raises AssertionError, with its output, when it does not."""
        try:
            eventually(lambda: self.output.count(text) >= times or self.has_ended(), text, seconds=seconds)
            assert self.output.count(text) >= times, f"it ended without {text!r}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None

    def stop(self, *, seconds: float = _PATIENCE_SECONDS) -> int:
        """End it by SIGTERM, as a supervisor does; returns its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(seconds=seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; its children get none."""
        self._process.send_signal(number)

    def wait(self, *, seconds: float = _PATIENCE_SECONDS) -> int:
        """Wait for its end; returns its exit status. Raises AssertionError, with its output, when it does not end."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {seconds:g} s\n{self.output}") from None

    def kill(self) -> None:
        """End it and its children at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def has_ended(self) -> bool:
        """Whether it runs no more, for whatever reason."""
        return self._process.poll() is not None

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def celery(*arguments: str, env: Mapping[str, str], log: Path, program: Sequence[str] = CELERY) -> Program:
    """`celery -A worker ...`, by this environment's celery or another one's."""
    return Program(*program, "-A", "worker", *arguments, env=env, log=log)


@contextmanager
def running_worker(
    env: Mapping[str, str], folder: Path, *arguments: str, name: str = "worker", program: Sequence[str] = CELERY
) -> Iterator[Program]:
    """A worker of two processes that is ready for tasks. Its node has a name of its own on the shared broker."""
    with celery(
        *("worker", "--concurrency", "2", "--hostname", f"{name}-{os.getpid()}@tests", *arguments),
        env=env,
        log=folder / f"{name}.log",
        program=program,
    ) as worker:
        worker.wait_for(" ready.")
        yield worker


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
    """The simulated platform; yields its URL."""
    with Program(*program, "--port", "0", "--json", *options, env=env, log=folder / "platform.log") as platform:
        platform.wait_for("}\n")
        ready = next(line for line in platform.output.splitlines() if line.startswith("{"))
        yield json.loads(ready)["url"]


# All that a billing system needs to know of the worker: Celery's protocol, a task's name and its queue.
_CALLER = """
import json, sys
from celery import Celery
app = Celery(broker=sys.argv[1], backend=sys.argv[2] or None)
for name, args in json.load(sys.stdin):
    result = app.send_task(name, args, queue="reconciler.orders")
    if sys.argv[2]:
        print(json.dumps(result.get(timeout=20)))
"""


def send_tasks(broker: str, *tasks: tuple[str, list[Any]], backend: str = "") -> list[Any]:
    """Send tasks from a program that imports nothing of the project; returns their answers where there is a backend."""
    done = subprocess.run(
        [sys.executable, "-c", _CALLER, broker, backend],
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
