"""The demo's processes: one group, which ends whatever becomes of the demo itself.

A guard leads the group and reads from a pipe that the demo holds open. When the pipe closes - the demo ended, crashed
or was killed hard - the guard kills the group, itself included. A Ctrl-C in the terminal reaches the demo alone, which
then stops the others in order.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_GUARD = "import os, signal, sys; sys.stdin.buffer.read(); os.killpg(0, signal.SIGKILL)"
_STOP_SECONDS = 4.0
_POLL_SECONDS = 0.05
_LINES_SHOWN = 12


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class Processes:
    """The processes of one demo, each with a log file of its own in the work folder. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program; its output goes to `NAME.log`."""
        with self.log_of(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(argument) for argument in arguments],
                # Away from the caller's folder: a .env there is none of the demo's business.
                cwd=self._folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._guard.pid,
            )

    def log_of(self, name: str) -> Path:
        """Where a program's output goes."""
        return self._folder / f"{name}.log"

    def check(self) -> None:
        """Raise DemoError where a program has ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise DemoError(
                    f"{name} ended by itself (status {process.returncode}); the end of {self.log_of(name)}:\n"
                    + self._last_lines(name)
                )

    def wait_for(self, what: str, is_there: Callable[[], bool], *, seconds: float) -> None:
        """Wait until something is there. Raises DemoError where it takes too long, or a program ends meanwhile."""
        give_up = time.monotonic() + seconds
        while not is_there():
            self.check()
            if time.monotonic() > give_up:
                raise DemoError(f"{what} did not happen within {seconds:g} s; the logs are in {self._folder}")
            time.sleep(_POLL_SECONDS)

    def stop(self, *names: str, seconds: float = _STOP_SECONDS) -> None:
        """Ask these programs to end, all at once, and kill those that have not after so many seconds."""
        stopping = [self._running.pop(name) for name in names if name in self._running]
        for process in stopping:
            process.terminate()
        give_up = time.monotonic() + seconds
        for process in stopping:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, give_up - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End everything. What is left of the group afterwards, children of children included, is killed."""
        # One after the other: a worker that loses its broker while it ends would wait for it.
        for name in reversed(list(self._running)):
            self.stop(name)
        with suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        if self._guard.stdin:
            self._guard.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last_lines(self, name: str) -> str:
        lines = self.log_of(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LINES_SHOWN:]) or "(it said nothing)"
