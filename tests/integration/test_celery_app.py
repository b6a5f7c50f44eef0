"""The Celery app as its users start it: what it refuses, what it answers, and which queues it touches."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from kombu import Connection

from tests.support.databases import DatabaseServer
from tests.support.processes import (
    CELERY,
    SHOW_FORKS,
    Program,
    environment,
    forks,
    inspected,
    running_beat,
    running_caller,
    running_worker,
)
from tests.support.server_process import free_port
from tests.support.servers import EmbeddedValkey
from tests.support.sql import execute, rows_of
from tests.support.waiting import eventually
from worker.adapters.log import VERSION
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow


@dataclass
class Deployment:
    worker: Program
    env: dict[str, str]
    broker: EmbeddedValkey
    database_url: str
    caller: Callable[..., Any]

    def call(self, name: str, *args: object) -> Any:
        """Send a task from a program that imports nothing of the project, and wait for its answer."""
        assert "Unrecoverable" not in self.worker.output, self.worker.output
        return self.caller(name, *args)

    def publish(self, body: bytes, task: str) -> None:
        """Put a message on the queue as anyone could who reaches the broker."""
        sent = {"routing_key": "reconciler.orders", "headers": {"task": task, "id": "forged"}}
        with Connection(self.broker.url) as connection, connection.Producer() as producer:
            producer.publish(body, content_type="application/json", content_encoding="utf-8", **sent)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    url = f"sqlite:///{folder / 'orders.db'}"
    upgrade(url)
    with EmbeddedValkey() as broker:
        env = environment(database_url=url, broker_url=broker.url, result_backend=broker.url)
        with running_worker(env, folder) as worker, running_caller(broker.url) as caller:
            yield Deployment(worker=worker, env=env, broker=broker, database_url=url, caller=caller)


def test_a_caller_that_imports_nothing_of_the_project_is_answered_by_the_contract(deployment: Deployment) -> None:
    listed = [{"request_id": "a1"}, {"request_id": "a1"}, {"request_id": "a2"}, {"request_id": "a,3"}]
    answer = deployment.call("reconciler.enqueue_orders", listed)
    assert (answer["accepted"], answer["duplicates"]) == (2, 1)
    assert [one["index"] for one in answer["rejected"]] == [3]
    one = deployment.call("reconciler.enqueue_order", {"custom_parm": "c1", "mobile": "18812340804"})
    assert one == {"accepted": 1, "duplicates": 0, "rejected": []}
    checked = deployment.call("reconciler.check_orders", [{"request_id": "a1"}])
    assert checked == {"queued": 1, "rejected": []}
    callback = {"requestId": "a1", "trafficSts": "1", "oriAmount": "2.94"}
    recorded = deployment.call("reconciler.record_callbacks", [callback, {"requestId": "a9"}])
    assert recorded == {"settled": 1, "unchanged": 0, "kept": 1, "rejected": []}
    cancelled = deployment.call("reconciler.cancel_orders", [{"request_id": "a1"}, {"request_id": "a2"}])
    assert cancelled == {"cancelled": 1, "unchanged": 1, "rejected": []}


@pytest.mark.parametrize(
    ("task", "body", "kept"),
    [
        ("reconciler.enqueue_orders", [[], {}, {}], None),
        ("reconciler.enqueue_orders", [[{"junk": 1}, 2], {}, {}], {"args": [{"junk": 1}, 2], "kwargs": {}}),
        ("reconciler.enqueue_orders", [[[]], {"more": 3}, {}], {"args": [[]], "kwargs": {"more": 3}}),
        ("reconciler.enqueue_order", [["junk-4"], {}, {}], "junk-4"),
        ("reconciler.record_callbacks", [["junk-5"], {}, {}], "junk-5"),
        ("reconciler.cancel_orders", [[{"junk": 6}], {}, {}], {"junk": 6}),
        ("reconciler.check_orders", [[[{"junk": 7}]], {}, {}], {"junk": 7}),
        ("reconciler.enqueue_orders", [[], {"orders": [{"junk": 8}]}, {}], {"junk": 8}),
    ],
)
def test_junk_arguments_are_kept_once_and_loop_nowhere(
    deployment: Deployment, task: str, body: list[Any], kept: object
) -> None:
    deployment.publish(json.dumps(body).encode(), task)

    def rejected() -> list[Any]:
        rows = rows_of(deployment.database_url, "SELECT source, payload FROM rejected_orders ORDER BY id")
        return [row[0] for row in rows if json.loads(row[1]) == kept]

    assert eventually(rejected, f"the record of {kept}") == [task]
    assert "Retry in" not in deployment.worker.output


@pytest.mark.parametrize("depth", [50, 90, 200, 300, 500, 700, 900, 940, 5000])
def test_a_nesting_of_whatever_depth_stops_nothing_and_loops_nowhere(deployment: Deployment, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    deployment.publish(f"[[[{nested}]], {{}}, {{}}]".encode(), "reconciler.enqueue_orders")
    assert deployment.call("reconciler.enqueue_order", {"request_id": f"after-nesting-{depth}"})["accepted"] == 1
    assert "Retry in" not in deployment.worker.output


def test_only_the_two_queues_are_consumed(deployment: Deployment) -> None:
    done = inspected("active_queues", "--json", env=deployment.env)
    (queues,) = json.loads(done.stdout).values()
    assert {queue["name"] for queue in queues} == {"reconciler.orders", "reconciler.ticks"}
    with deployment.broker.client() as client:
        # Celery's default queue, as another program on a shared broker uses it.
        client.lpush("celery", "another program's task")
        deployment.call("reconciler.enqueue_order", {"request_id": "after-default-queue"})
        assert client.llen("celery") == 1


def test_the_worker_answers_to_inspect_ping(deployment: Deployment) -> None:
    done = inspected("ping", env=deployment.env)
    assert (done.returncode, "pong" in done.stdout) == (0, True)


def test_ticks_are_accepted_whatever_they_carry_and_leave_no_file(deployment: Deployment, tmp_path: Path) -> None:
    def ticks() -> int:
        (stats,) = json.loads(inspected("stats", "--json", env=deployment.env).stdout).values()
        return int(stats["total"].get("reconciler.reconcile", 0))

    for body in (b"[[], {}, {}]", b'[[1, "junk", null], {"a": [1]}, {}]'):
        deployment.publish(body, "reconciler.reconcile")
    with running_beat(deployment.env, tmp_path) as beat:
        eventually(lambda: ticks() >= 4, "two forged ticks, and two of beat's")
        assert beat.stop() == 0
    assert [file.name for file in tmp_path.iterdir()] == ["beat.log"]
    assert "Traceback" not in beat.output


def started(*arguments: str, env: dict[str, str], folder: Path) -> tuple[int, list[str]]:
    """Start `celery -A worker ...`, which must end by itself; returns its exit status and its lines."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "celery", "-A", "worker", *arguments],
        env={**env, "C_FORCE_ROOT": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()


def test_a_worker_in_a_folder_without_env_says_that_defaults_were_meant(tmp_path: Path) -> None:
    status, lines = started("worker", env=without_settings(), folder=tmp_path)
    assert (status, len(lines)) == (1, 2)
    assert lines[0].endswith(f" (there is no .env in {tmp_path}; if you have one, call the command in its folder)")
    assert f"the default database, as there is no .env in {tmp_path} and RECONCILER_DATABASE_URL is not set" in lines[1]
    Path(tmp_path, ".env").write_text("RECONCILER_BATCH_SIZE=10\n", "utf-8")
    assert "there is no .env" not in "".join(started("worker", env=without_settings(), folder=tmp_path)[1])


def test_beat_in_a_folder_without_env_warns_that_the_default_broker_is_meant(tmp_path: Path) -> None:
    # An hour: it must send nothing to whatever listens there.
    with running_beat({**without_settings(), "RECONCILER_TICK_SECONDS": "3600"}, tmp_path) as beat:
        beat.wait_for("RECONCILER_BROKER_URL is not set")
        assert f"that is the default broker, as there is no .env in {tmp_path} and" in beat.output
        assert beat.stop() == 0


def without_settings() -> dict[str, str]:
    return {name: value for name, value in environment().items() if not name.startswith("RECONCILER_")}


NO_ACCOUNT = {"account_sid": "", "auth_token": "", "app_id": ""}
AWAY = {"database_url": "postgresql://somebody:secret-word@127.0.0.1:1/orders"}
FAR = {"query_window_seconds": 59.9, "platform_url": "http://api.ytx.net"}
UNREACHED = (
    r"the worker does not start: postgresql\+psycopg://somebody:\*\*\*@127\.0\.0\.1:.*Connection refused.*"
    r"see that it runs, and that RECONCILER_DATABASE_URL is right"
)


@pytest.mark.parametrize(
    ("program", "settings", "line"),
    [
        ("worker", {"tick_seconds": "soon"}, r"RECONCILER_TICK_SECONDS is not a number \('soon'\).*"),
        ("beat", {"tick_seconds": "soon"}, r"RECONCILER_TICK_SECONDS is not a number \('soon'\).*"),
        ("worker", {"database_url": "sqlite:///new.db"}, ".*run `reconciler migrate`.*"),
        ("worker", AWAY, UNREACHED),
        ("worker", NO_ACCOUNT, ".*no account is configured.*"),
        ("worker", FAR, "RECONCILER_QUERY_WINDOW_SECONDS is under 60 while .*"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(
    program: str, settings: dict[str, object], line: str, tmp_path: Path
) -> None:
    upgrade(f"sqlite:///{tmp_path}/orders.db")
    env = environment(**{"database_url": "sqlite:///orders.db", **settings})
    status, lines = started(program, env=env, folder=tmp_path)
    assert (status, len(lines)) == (1, 1)
    assert re.fullmatch(line, lines[0])


def test_a_worker_that_cannot_start_for_two_reasons_prints_both(tmp_path: Path) -> None:
    env = environment(database_url="sqlite:///new.db", **NO_ACCOUNT)
    status, lines = started("worker", env=env, folder=tmp_path)
    assert (status, len(lines)) == (1, 2)
    assert all(line.startswith("the worker does not start: ") for line in lines)
    assert not list(tmp_path.iterdir())


def test_the_log_is_in_the_zone_of_people_and_on_standard_error_from_its_first_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    upgrade(url)
    # Entering this endpoint is the first thing that is done and logged, long before the broker is asked.
    env = environment(
        database_url=url,
        broker_url=f"redis://127.0.0.1:{free_port()}/0",
        notify_url=f"http://127.0.0.1:{free_port()}/",
        notify_secret=f"whsec_{'a2' * 16}",
        timezone="Asia/Shanghai",
    )
    log = tmp_path / "err.log"
    command = [*CELERY, "-A", "worker", "worker", "--pool", "solo"]
    with log.open("w") as errors:
        worker = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            eventually(lambda: "broker_unavailable" in log.read_text(), "a line about the broker")
        finally:
            worker.terminate()
            written, _ = worker.communicate(timeout=60)
    assert "action=" not in written
    lines = [line for line in log.read_text().splitlines() if "action=" in line]
    assert f"version={VERSION}" in lines[0]
    assert "action=endpoint_entered" in lines[1]
    assert [line for line in lines if "action=started" in line] == lines[:1]
    for line in lines:
        assert datetime.fromisoformat(line.split()[0]).utcoffset() == timedelta(hours=8), line


def test_a_worker_that_starts_logs_what_is_set_unsafely(postgresql_server: DatabaseServer, tmp_path: Path) -> None:
    with postgresql_server.migrated(upgrade) as url, EmbeddedValkey(maxmemory_policy="allkeys-lru") as broker:
        # Let this database's sessions not wait for the disk.
        execute(url, f"ALTER DATABASE {sqlalchemy.make_url(url).database} SET synchronous_commit = off")
        env = environment(database_url=url, broker_url=broker.url, log_format="json")
        with running_worker(env, tmp_path) as worker:
            records = [json.loads(line) for line in worker.output.splitlines() if line.startswith("{")]
    unsafe = {record["check"]: record for record in records if record["action"] == "unsafe_setting"}
    assert {"synchronous_commit", "maxmemory_policy"} <= unsafe.keys()
    assert unsafe["maxmemory_policy"]["level"] == "warning"
    assert unsafe["maxmemory_policy"]["event"].endswith(": set maxmemory-policy noeviction")


def test_no_collection_of_garbage_in_the_pool_writes_to_what_was_imported_before_the_fork(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    upgrade(url)
    program = [sys.executable, "-c", SHOW_FORKS + "from celery.__main__ import main; main()"]
    with EmbeddedValkey() as broker:
        env = environment(database_url=url, broker_url=broker.url)
        with running_worker(env, tmp_path, program=program) as worker:
            eventually(lambda: len(forks(worker)) >= 2, "a line of each process")
            counts = forks(worker)
    assert len(counts) == 2
    assert all(frozen > 10 * others for frozen, others in counts), counts


_RETRY = """
from celery.exceptions import Reject
from worker.tasks import enqueue_orders
enqueue_orders.push_request(args=[[]], kwargs={}, called_directly=False, retries=0, is_eager=False, id="1")
try:
    enqueue_orders.retry(exc=OSError("the database is away"), countdown=0)
except Reject as error:
    print("requeue" if error.requeue else "drop")
"""


def test_a_retry_that_the_broker_does_not_accept_requeues_the_message(tmp_path: Path) -> None:
    env = environment(broker_url=f"redis://127.0.0.1:{free_port()}/0")
    done = subprocess.run(
        [sys.executable, "-c", _RETRY], env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    # The error line about a task that fails for a reason of its own comes first.
    assert done.stdout.splitlines()[-1:] == ["requeue"], done.stderr
    assert "task_failed" in done.stdout
