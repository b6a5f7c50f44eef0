"""Real programs, as an operator starts them: worker, beat and `serve`."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from celery import Celery

from benchmarks.bench import APP_ID, SID, TOKEN
from worker.adapters import child_processes
from worker.adapters.child_processes import Child, environment_of_programs

PATIENCE_SECONDS = 60.0


def environment(database_url: str, broker_url: str, **settings: object) -> dict[str, str]:
    """The environment of a worker or beat; `settings` are named as in the contract, without prefix, in lower case."""
    ours = {"database_url": database_url, "broker_url": broker_url, "account_sid": SID, "auth_token": TOKEN}
    ours |= {"app_id": APP_ID, "log_format": "json"} | {name: str(value) for name, value in settings.items()}
    return environment_of_programs({f"RECONCILER_{name.upper()}": value for name, value in ours.items()})


class CeleryProcess(Child):
    """A worker or a beat."""

    lines_in_errors = 30


@contextmanager
def celery(*arguments: str, env: Mapping[str, str]) -> Iterator[CeleryProcess]:
    """`celery -A worker ...`, shut down afterwards. It runs in a folder of its own, so no `.env` is read."""
    command = [sys.executable, "-m", "celery", "-A", "worker", *arguments]
    with (
        tempfile.TemporaryDirectory(prefix="reconciler-bench-") as home,
        CeleryProcess(command, name=arguments[0], log=Path(home) / "log", env=env, cwd=Path(home)) as process,
    ):
        try:
            yield process
        except BaseException:
            print(f"{process}{process.end_of_log()}", file=sys.stderr)
            raise
        finally:
            process.stop(seconds=PATIENCE_SECONDS)


@contextmanager
def serve(*options: str, env: Mapping[str, str]) -> Iterator[tuple[Child, str]]:
    """`reconciler serve ...` on a free port, in a folder of its own; gives it with its URL."""
    command = [sys.executable, "-c", "from worker.cli import main; main()", "serve", "--port", "0", *options]
    with (
        tempfile.TemporaryDirectory(prefix="reconciler-bench-") as home,
        Child(command, name="serve", log=Path(home) / "log", env=env, cwd=Path(home)) as child,
    ):
        wait_until(lambda: '"serve_started"' in child.output, "the start of `serve`")
        line = next(line for line in child.output.splitlines() if '"serve_started"' in line)
        yield child, json.loads(line)["listening"][0]


def wait_until(holds: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS, poll: float = 0.2) -> None:
    """Wait for a condition. Raises ChildError, which says what did not come."""
    child_processes.wait_until(holds, what, seconds=seconds, poll_seconds=poll)


def wait_for_worker(app: Celery) -> None:
    """Wait until a worker answers."""
    wait_until(lambda: bool(app.control.ping(timeout=0.5)), "the worker's answer")


def pool_processes(app: Celery) -> list[int]:
    """The process ids of the worker's pool."""
    stats = app.control.inspect(timeout=5).stats() or {}
    return [int(pid) for one in stats.values() for pid in one["pool"]["processes"]]


def resident_megabytes(pid: int) -> float:
    """A process's resident memory in MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        kibibytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    else:
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        kibibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(kibibytes) * 1024 / 1e6


def proportional_megabytes(pid: int) -> float:
    """The memory of a process and of all that it has started, in MB (10^6 bytes); a page that several processes share
    counts in part for each (PSS). Linux only."""
    kibibytes = 0
    waiting = [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        waiting += [int(child) for thread in process.glob("task/*/children") for child in thread.read_text().split()]
        # A child may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            rollup = (process / "smaps_rollup").read_text().splitlines()
            kibibytes += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return kibibytes * 1024 / 1e6
