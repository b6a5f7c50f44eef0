"""A MariaDB server of the tests' own, from the machine's programs; it may be killed."""

import os
import shutil
import signal
import subprocess
import time

import pymysql

from tests.support.server_process import ServerProcess
from tests.support.servers import free_port

_START_SECONDS = 60


def is_installed() -> bool:
    """Whether this machine has MariaDB's programs."""
    return _program("mariadbd") is not None and _program("mariadb-install-db") is not None


class OwnMariadb(ServerProcess):
    """A MariaDB on a free loopback port, with an empty password for root. It lives as long as its context."""

    def __init__(self) -> None:
        super().__init__("mariadb")
        self.port = free_port()

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database `mysql`; the same before and after a restart."""
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/mysql?charset=utf8mb4"

    def start(self) -> None:
        """Start the server on its data and wait until it answers. Raises RuntimeError, with its log."""
        self._process = self._launch(
            "mariadbd",
            f"--datadir={self._home / 'data'}",
            f"--socket={self._home / 'socket'}",
            f"--pid-file={self._home / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=64M",
            # A test's data need not survive the machine; it does survive kill -9 of the server.
            "--innodb-flush-log-at-trx-commit=2",
            # Not UTC, so that a time stored in the wrong zone is noticed.
            "--default-time-zone=+08:00",
        )
        give_up = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < give_up:
            try:
                pymysql.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=5).close()
            except pymysql.OperationalError:
                time.sleep(0.05)
            else:
                return
        self.kill()
        raise RuntimeError(f"MariaDB did not start: {self._log.read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop the server in order; the data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let the server crash (kill -9); `start` recovers what was committed."""
        self._end(signal.SIGKILL)

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        path = _program(program)
        if path is None:
            raise RuntimeError(f"{program} is not installed: install the package mariadb-server")
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        with self._log.open("ab") as log:
            return subprocess.Popen(
                # The machine's own settings must not reach the tests.
                [path, "--no-defaults", *as_root, *arguments],
                # A server that starts removes the temporary tables that it finds, whosever they are.
                env={**os.environ, "TMPDIR": str(self._home)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _initialise(self) -> None:
        installed = self._launch(
            "mariadb-install-db",
            f"--datadir={self._home / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        if installed.wait():
            raise RuntimeError(f"mariadb-install-db failed: {self._log.read_text(errors='replace')}")


def _program(name: str) -> str | None:
    # Debian keeps servers in folders that only root's PATH names.
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
