"""Real Celery processes, as an operator starts them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

import worker
from benchmarks.bench import APP_ID, SID, TOKEN

PATIENCE_SECONDS = 60.0


def environment(database_url: str, broker_url: str, **settings: object) -> dict[str, str]:
    """The environment of a worker or beat; `settings` are named as in the contract, without prefix, in lower case."""
    ours = {"database_url": database_url, "broker_url": broker_url, "account_sid": SID, "auth_token": TOKEN}
    ours |= {"app_id": APP_ID, "log_format": "json"} | {name: str(value) for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
    path = str(Path(worker.__file__).parents[1])
    return inherited | {"PYTHONPATH": path} | {f"RECONCILER_{name.upper()}": value for name, value in ours.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A process that was started, in a process group of its own."""

    pid: int
    log: Path
    """What it has written."""


@contextmanager
def celery(*arguments: str, env: Mapping[str, str]) -> Iterator[Running]:
    """`celery -A worker ...`, shut down afterwards. It runs in a folder of its own, so no `.env` is read."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as home, (Path(home) / "log").open("w+") as log:
        command = [sys.executable, "-m", "celery", "-A", "worker", *arguments]
        process = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            yield Running(pid=process.pid, log=Path(log.name))
        except BaseException:
            log.seek(0)
            print(*log.readlines()[-30:], sep="", file=sys.stderr)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(holds: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS, poll: float = 0.2) -> None:
    """Wait for a condition. Raises TimeoutError, which says what did not come."""
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what} did not come within {seconds:g} s")
        time.sleep(poll)


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
