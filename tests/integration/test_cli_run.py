"""`reconciler run`: worker and beat start together and end together."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, PROGRAM, CommandLine
from tests.support.processes import Program
from tests.support.reconciling import Workbench
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from worker.adapters.child_processes import environment_of_programs
from worker.database.tables import BUDGETS

pytestmark = [pytest.mark.slow, pytest.mark.databases("sqlite")]


@contextmanager
def running(settings: dict[str, str]) -> Iterator[tuple[Program, Path]]:
    """`reconciler run`, and the file that holds what it and its children write."""
    log = Path("log").absolute()
    with Program(*PROGRAM, "run", "--concurrency", "1", env=environment_of_programs(settings), log=log) as program:
        try:
            yield program, log
        finally:
            # Twice, so that a test that failed leaves nothing either.
            program.send_signal(signal.SIGTERM)
            program.send_signal(signal.SIGTERM)
            program.wait()


@pytest.fixture
def settings(migrated_database_url: str, own_valkey: EmbeddedValkey) -> dict[str, str]:
    return {
        **ACCOUNT,
        "RECONCILER_DATABASE_URL": migrated_database_url,
        "RECONCILER_BROKER_URL": own_valkey.url,
        # No query is sent: there are no orders.
        "RECONCILER_PLATFORM_URL": "http://127.0.0.1:9",
        "RECONCILER_TICK_SECONDS": "0.2",
    }


def wait_until_it_works(settings: dict[str, str], process: Program) -> None:
    """Wait until the worker logs that it is ready, beat prints that it starts, and a tick has begun the budget."""
    process.wait_for(" ready.")
    process.wait_for("is starting")
    bench = Workbench(settings["RECONCILER_DATABASE_URL"])
    try:
        eventually(lambda: bench.rows(BUDGETS), "a slot of the budget")
    finally:
        bench.close()


def children_of(log: Path) -> dict[str, int]:
    (line,) = [line for line in log.read_text("utf-8").splitlines() if line.startswith("Started ")]
    words = line.replace("(process ", "").replace(")", "").replace(",", "").replace(".", "").split()
    return {"worker": int(words[words.index("worker") + 1]), "beat": int(words[words.index("beat") + 1])}


def is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_starts_a_worker_that_gets_beats_ticks_and_a_signal_leaves_nothing(
    settings: dict[str, str], number: signal.Signals
) -> None:
    with running(settings) as (process, log):
        wait_until_it_works(settings, process)
        children = children_of(log)
        assert {os.getpgid(child) for child in children.values()} == {children["worker"]}
        process.send_signal(number)
        assert process.wait() == 0
        assert "Stopping: a query that is under way is finished first" in log.read_text("utf-8")
        # Celery's name for an orderly stop, which would have finished a query.
        assert "Warm shutdown" in log.read_text("utf-8")
        eventually(lambda: not is_group_alive(children["worker"]), "nothing is left of them")


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_when_one_of_them_dies_the_other_is_stopped_and_the_error_says_so(settings: dict[str, str], name: str) -> None:
    with running(settings) as (process, log):
        wait_until_it_works(settings, process)
        children = children_of(log)
        os.kill(children[name], signal.SIGKILL)
        assert process.wait() == 1
        last = log.read_text("utf-8").splitlines()[-1]
        assert last == f"Error: {name} ended with signal 9, so both are stopped; what it wrote above says why"
        eventually(lambda: not is_group_alive(children["worker"]), "nothing is left of them")


def test_without_an_account_nothing_is_started(
    migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli = CommandLine({"RECONCILER_DATABASE_URL": migrated_database_url})
    error = cli.error("run")
    assert error.startswith("no account is configured: set RECONCILER_ACCOUNT_SID")
    hint = f" (there is no .env in {tmp_path}; if you have one, call the command in its folder)"
    assert error.endswith(hint)
    Path(".env").write_text("RECONCILER_BATCH_SIZE=10\n", "utf-8")
    assert hint not in cli.error("run")


def test_a_module_of_the_folder_that_celery_would_load_as_the_worker_is_named(
    migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli = CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": migrated_database_url})
    Path("worker.py").touch()
    assert cli.error("run") == (
        f"celery -A worker loads {tmp_path}/worker.py here, and not this program: rename it, or start in another folder"
    )
    Path("worker.py").unlink()
    Path("worker").mkdir()
    Path("worker/__init__.py").touch()
    assert cli.error("run").startswith(f"celery -A worker loads {tmp_path}/worker/__init__.py here")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux notifies a child")
def test_when_run_is_killed_its_children_end_by_themselves(settings: dict[str, str]) -> None:
    with running(settings) as (process, log):
        wait_until_it_works(settings, process)
        children = children_of(log)
        process.kill()
        process.wait()
        eventually(lambda: not is_group_alive(children["worker"]), "nothing is left of them")
