"""What the tests' own servers have in common: a folder, one process, and a clean end."""

import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

_STOP_SECONDS = 20


class ServerProcess(ABC):
    """A server that lives as long as its context; between its start and its end it may be killed and started again."""

    def __init__(self, name: str) -> None:
        # Under /tmp whatever TMPDIR says: the path of a Unix socket may not exceed about 100 bytes.
        self._home = Path(tempfile.mkdtemp(prefix=f"reconciler-{name}-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id, for signals."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it was started and no longer runs."""
        return self._process is not None and self._process.poll() is not None

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self._home / "data"

    @property
    def _log(self) -> Path:
        return self._home / "log"

    @abstractmethod
    def start(self) -> None:
        """Start the server on its data and wait until it answers. Raises RuntimeError, with its log."""

    @abstractmethod
    def kill(self) -> None:
        """Let the server crash; `start` recovers what was committed."""

    def close(self) -> None:
        """End the server and remove its files."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    @abstractmethod
    def _initialise(self) -> None:
        """Create what the first start needs."""

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
