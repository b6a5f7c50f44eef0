"""A MariaDB server of the tests' own, from the machine's programs; it may be killed."""

import os
import signal

import pymysql

from tests.support.server_process import ServerProcess, free_port, path_of
from worker.adapters.child_processes import Child


def is_installed() -> bool:
    """Whether this machine has MariaDB's programs."""
    return path_of("mariadbd") is not None and path_of("mariadb-install-db") is not None


class OwnMariadb(ServerProcess):
    """A MariaDB on a free loopback port, with an empty password for root. It lives as long as its context."""

    def __init__(self, *options: str) -> None:
        """`options` are further ones of mariadbd."""
        super().__init__("mariadb")
        self.port = free_port()
        self._options = options

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database `mysql`; the same before and after a restart."""
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/mysql?charset=utf8mb4"

    def start(self) -> None:
        """Start the server on its data and wait until it answers. Raises ChildError, with the end of its log."""
        self._process = self._program(
            "mariadbd",
            f"--datadir={self._home / 'data'}",
            f"--socket={self._home / 'socket'}",
            f"--pid-file={self._home / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=64M",
            # A test's data may be lost with the machine; it survives kill -9 of the server.
            "--innodb-flush-log-at-trx-commit=2",
            # Not UTC, so that a time stored in the wrong zone is noticed.
            "--default-time-zone=+08:00",
            *self._options,
        )
        self._wait_until_it_answers(
            lambda: pymysql.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=5).close(),
            pymysql.OperationalError,
        )

    def stop(self) -> None:
        """Stop the server in order; the data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let the server crash (kill -9); `start` recovers what was committed."""
        self._end(signal.SIGKILL)

    def _program(self, name: str, *arguments: str) -> Child:
        path = path_of(name)
        if path is None:
            raise RuntimeError(f"{name} is not installed: install the package mariadb-server")
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        return self._launch(
            # The machine's own settings are none of the tests' business.
            [path, "--no-defaults", *as_root, *arguments],
            # A server that starts removes the temporary tables that it finds, whosever they are.
            env={**os.environ, "TMPDIR": str(self._home)},
        )

    def _initialise(self) -> None:
        self._initialise_by(
            self._program(
                "mariadb-install-db",
                f"--datadir={self.data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            )
        )
