"""Worker, beat, broker, database and platform go away in turn: which probe and which command says so."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import (
    environment,
    running_beat,
    running_platform,
    running_serve,
    running_worker,
    send_tasks,
)
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from tests.support.ticking import wait_for_a_new_tick
from tests.support.waiting import eventually
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

SETTINGS = {
    "query_window_seconds": 1,
    "request_deadline_seconds": 1,
    "callback_grace_seconds": 0.05,
    "tick_seconds": 0.1,
    # What is shorter counts as 12 s: 2 s without a tick, and the period of a process's row twice.
    "check_tick_seconds": 1,
}
NO_TICK = "no tick for 12 s"
SLOW, AWAY = "no answer", "cannot be reached"
"""What a page says if a reading takes more than three seconds, as one may on a busy machine."""
PARTS = {"worker": "ok", "broker": "ok", "database": "ok"}
WELL = {"/livez": 200, "/readyz": 200, "/healthz": 200, **PARTS}


@dataclass
class Probes:
    """What `serve` answers."""

    url: str

    def now(self) -> dict[str, object]:
        """The status of each probe, and each part of the health."""
        statuses, parts = {}, {}
        for path in ("/livez", "/readyz", "/healthz"):
            status, text = self._ask(path)
            statuses[path] = status
            if path == "/healthz":
                parts = json.loads(text)
        return {**statuses, **parts}

    def become(self, **different: object) -> None:
        """Wait for that answer; until then no other probe may have flipped."""
        expected = {**WELL, **{f"/{name}" if name.endswith("z") else name: value for name, value in different.items()}}

        def is_so() -> bool:
            found = self.now()
            # A busy machine may let a question wait for its 3 s.
            if found["database"] == SLOW or found["broker"] == AWAY != expected["broker"]:
                return False
            stray = {name for name in WELL if found[name] not in (WELL[name], expected[name])}
            assert not stray, f"{found} instead of {expected}"
            return found == expected

        eventually(is_so, str(expected), every=0.2)

    def recover(self) -> None:
        """Wait until all is well again."""
        eventually(lambda: self.now() == WELL, "all probes well", every=0.2)

    def _ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=100) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def checked(cli: CommandLine, status: int) -> str:
    """What `status --check` says once its exit status is this."""
    said: list[str] = []

    def is_so() -> bool:
        printed = cli.run("status", "--check", status=None)
        said.append(printed.stdout.strip())
        return printed.exit_code == status

    eventually(is_so, f"exit status {status}", every=0.2)
    return said[-1]


@pytest.fixture
def database() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as server:
        upgrade(server.url)
        yield server


def test_each_absence_flips_what_it_should_and_nothing_else(
    database: EmbeddedPostgres, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        platform = stack.enter_context(ExitStack())
        platform_url = platform.enter_context(running_platform(environment(query_window_seconds=1), tmp_path))
        urls = {"database_url": database.url, "broker_url": own_valkey.url, "platform_url": platform_url}
        env = environment(**urls, **SETTINGS)
        cli = CommandLine({name: value for name, value in env.items() if name.startswith("RECONCILER_")})
        _, url = stack.enter_context(running_serve(env, tmp_path, "--workers", "1"))
        probes = Probes(url)
        probes.become(healthz=503, worker=NO_TICK)
        assert checked(cli, 2) == "CRITICAL: no worker runs on this database"
        cli.run("health", status=1)
        worker = stack.enter_context(running_worker(env, tmp_path))
        beat = stack.enter_context(running_beat(env, tmp_path))
        probes.recover()
        assert checked(cli, 0) == "OK: a worker ticks; 0 orders are pending, 0 of them due"
        cli.run("health")

        beat.stop()
        wait_for_a_new_tick(cli)
        probes.become()
        assert checked(cli, 1).startswith("WARNING: no tick of beat has come for ")

        own_valkey.stop()
        probes.become(healthz=503, broker=AWAY)
        assert checked(cli, 2).startswith("CRITICAL: the broker has not answered for ")
        # To restart the worker would not help: its processes poll all the same.
        wait_for_a_new_tick(cli)
        cli.run("health")
        probes.become(healthz=503, broker=AWAY)
        own_valkey.start()
        stack.enter_context(running_beat(env, tmp_path, name="second-beat"))
        probes.recover()

        platform.close()
        send_tasks(own_valkey.url, ("reconciler.enqueue_orders", [[{"request_id": "r1"}]]))
        # One query: until its host connects again, it sends no other.
        worker.wait_for("query_failed")
        eventually(lambda: "has not reached the platform" in checked(cli, 1), "the host's finding")
        probes.become()

        database.stop()
        unknown = "unknown, as the database does not answer"
        probes.become(readyz=503, healthz=503, worker=unknown, database="the database is away")
        assert checked(cli, 3).startswith("UNKNOWN: the database is away")
        assert "it is not known whether" in cli.run("health").stdout
        database.start()
        probes.recover()

        worker.send_to_all(signal.SIGSTOP)
        probes.become(healthz=503, worker=NO_TICK)
        assert checked(cli, 2).startswith("CRITICAL: no worker ")
        worker.send_to_all(signal.SIGCONT)
        probes.recover()

        assert worker.stop() == 0
        probes.become(healthz=503, worker=NO_TICK)
        assert checked(cli, 2).startswith("CRITICAL: no worker runs on this database")
        assert "Traceback" not in worker.output
