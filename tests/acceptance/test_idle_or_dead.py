"""An idle worker, a stopped one, and what else may be away: what `status --check` and `health` say of it."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import environment, running_beat, running_worker
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from tests.support.ticking import wait_for_a_new_tick
from tests.support.waiting import eventually
from worker.database.migrations import upgrade

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SETTINGS = {
    "query_window_seconds": 1,
    "request_deadline_seconds": 1,
    "tick_seconds": 0.1,
    # What is shorter than a process's own patience counts as 12 s: its 2 s, and its row's period twice.
    "check_tick_seconds": 1,
}


@pytest.fixture
def database() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as server:
        upgrade(server.url)
        yield server


def checked(cli: CommandLine, status: int) -> str:
    """What the check says once its exit status is this."""
    said: list[str] = []

    def is_so() -> bool:
        printed = cli.run("status", "--check", status=None)
        said.append(printed.stdout.strip())
        return printed.exit_code == status

    eventually(is_so, f"exit status {status}", seconds=60, every=0.2)
    return said[-1]


def test_whoever_is_away_the_check_says_whether_a_worker_ticks(
    database: EmbeddedPostgres, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    urls = {"database_url": database.url, "broker_url": own_valkey.url, "platform_url": "http://127.0.0.1:9"}
    env = environment(**urls, **SETTINGS)
    cli = CommandLine({name: value for name, value in env.items() if name.startswith("RECONCILER_")})
    assert checked(cli, 2) == "CRITICAL: no worker runs on this database"
    cli.run("health", status=1)
    with ExitStack() as stack:
        worker = stack.enter_context(running_worker(env, tmp_path))
        beat = stack.enter_context(running_beat(env, tmp_path))
        assert checked(cli, 0) == "OK: a worker ticks; 0 orders are pending, 0 of them due"
        cli.run("health")

        beat.stop()
        assert checked(cli, 1).startswith("WARNING: no tick of beat has come for ")
        own_valkey.kill()
        assert checked(cli, 2).startswith("CRITICAL: the broker has not answered for ")
        # To restart the worker would not help: its processes poll all the same.
        wait_for_a_new_tick(cli)
        cli.run("health")
        own_valkey.start()
        beat = stack.enter_context(running_beat(env, tmp_path, name="second-beat"))
        assert checked(cli, 0).startswith("OK: a worker ticks")

        database.stop()
        assert checked(cli, 3).startswith("UNKNOWN: the database is away")
        assert "nobody can tell" in cli.run("health").stdout
        database.start()
        wait_for_a_new_tick(cli)
        assert checked(cli, 0).startswith("OK: a worker ticks")

        worker.send_to_all(signal.SIGSTOP)
        assert checked(cli, 2).startswith("CRITICAL: no worker ")
        worker.send_to_all(signal.SIGCONT)
        assert checked(cli, 0).startswith("OK: a worker ticks")

        assert worker.stop() == 0
        assert checked(cli, 2) == "CRITICAL: no worker runs on this database"
        cli.run("health", status=1)
        assert "Traceback" not in worker.output
