"""The processes that this one has started, and those that they have started."""

import os
import signal
import subprocess
from contextlib import suppress
from types import FrameType


def end_with_all_descendants() -> None:
    """From now on SIGTERM and Ctrl-C end this process and kill all that it started."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    for process in _descendants_of(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os._exit(128 + number)


def _descendants_of(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found = [process]
    for one in found:
        found.extend(pid for pid, parent in parents.items() if parent == one)
    return found[1:]
