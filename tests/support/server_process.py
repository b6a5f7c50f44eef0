"""What the tests' own servers have in common: a folder, one process, and a clean end."""

import fcntl
import os
import random
import shutil
import signal
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Self

from worker.adapters.child_processes import Child, ChildError, wait_until

_START_SECONDS = 90
_STOP_SECONDS = 20


_PORTS = range(20_000, 32_000)
"""Below those from which systems take the ports of outgoing connections: one of these could take a port between its
choice and the start of its server, or while its server is down."""


# Hypothesis seeds the functions of `random`: all processes would have the same order.
_ports = cycle(random.SystemRandom().sample(_PORTS, len(_PORTS)))
# Of test runs side by side, each process locks the bytes at the numbers of its ports, until it ends.
_claims = os.open(f"/tmp/reconciler-test-ports-{os.getuid()}", os.O_CREAT | os.O_RDWR)


def free_port() -> int:
    """A loopback port on which no program listens; no test that runs beside this one takes it later."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind(("127.0.0.1", port))
            return port


def path_of(program: str) -> str | None:
    """The path of a program; None without it."""
    # Debian keeps servers where only root's path leads.
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


class ServerProcess(ABC):
    """A server that lives as long as its context; between its start and its end it may be killed and started again."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Under /tmp whatever TMPDIR says: the path of a Unix socket may not exceed about 100 bytes.
        self._home = Path(tempfile.mkdtemp(prefix=f"reconciler-{name}-", dir="/tmp"))
        self._process: Child | None = None

    @property
    def pid(self) -> int:
        """Its process id, for signals."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self._home / "data"

    @property
    def _log(self) -> Path:
        return self._home / "log"

    @abstractmethod
    def start(self) -> None:
        """Start the server on its data and wait until it answers. Raises ChildError, with the end of its log."""

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

    def _launch(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> Child:
        return Child(
            command,
            name=self._name,
            log=self._log,
            env=env,
            cwd=self._home,
            user=user,
            extra_groups=[] if user else None,
        )

    def _initialise_by(self, child: Child) -> None:
        """Wait for a program that makes what the server needs. Raises ChildError where it fails."""
        if child.wait(seconds=_START_SECONDS):
            child.check()

    def _wait_until_it_answers(self, connect: Callable[[], object], *errors: type[Exception]) -> None:
        """Wait until `connect` raises none of these errors."""

        def answers() -> bool:
            try:
                connect()
            except errors:
                return False
            return True

        assert self._process is not None
        try:
            wait_until(answers, "its answer", seconds=_START_SECONDS, poll_seconds=0.02, children=[self._process])
        except ChildError:
            self.kill()
            raise

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.stop(seconds=_STOP_SECONDS, how=how)
            self._process = None

    def __enter__(self) -> Self:
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listens(port: int) -> None:
    """Raise OSError where no program listens on a loopback port."""
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
