"""Messages and programs when their broker goes away."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu import Connection, Queue
from structlog.testing import capture_logs

from tests.support.databases import Sqlite
from tests.support.processes import Program, celery, environment, running_beat, running_worker, send_tasks
from tests.support.proxy import Mode, through_proxy
from tests.support.servers import EmbeddedValkey
from tests.support.sql import column_of
from tests.support.waiting import eventually, locked_table
from worker.broker.redis_and_rabbitmq import guard_kombu
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

QUEUE = "reconciler.orders"
# Before any test runs: kombu keeps the transport of the first connection that is made in a process.
guard_kombu()


def test_a_channel_closes_although_it_cannot_return_what_it_holds(own_valkey: EmbeddedValkey) -> None:
    connection = Connection(own_valkey.url)
    channel = connection.channel()
    Queue(QUEUE, channel=channel).declare()
    connection.Producer().publish({}, routing_key=QUEUE)
    assert channel.basic_get(QUEUE) is not None
    own_valkey.kill()
    with capture_logs() as logs:
        channel.close()
    assert [line["action"] for line in logs] == ["messages_left"]
    connection.release()


def test_an_error_of_a_message_handler_is_not_treated_as_unreadable_bytes(
    own_valkey: EmbeddedValkey,
) -> None:
    def handle(*_: object) -> None:
        raise ValueError("a mistake of the handler's")

    with Connection(own_valkey.url) as connection, capture_logs() as logs:
        queue = Queue(QUEUE, channel=connection.default_channel)
        queue.declare()
        connection.Producer().publish({}, routing_key=QUEUE)
        with (
            connection.Consumer(queue, callbacks=[handle], accept=["json"]),
            pytest.raises(ValueError, match="a mistake of the handler's"),
        ):
            connection.drain_events(timeout=100)
    assert logs == []
    with own_valkey.client() as client:
        assert client.llen(QUEUE) == 1


@contextmanager
def listening_instead(url: str) -> Iterator[socket.socket]:
    """Listen on the port of a broker that has gone."""
    with socket.create_server(("127.0.0.1", urlsplit(url).port or 0)) as server:
        server.settimeout(40)
        yield server


def hang_up(server: socket.socket, *, times: int) -> None:
    """Close the next connections at once."""
    for _ in range(times):
        server.accept()[0].close()


def warnings_of(program: Program) -> list[object]:
    """The actions of its warnings, without those that do not concern the broker's absence."""
    said = [json.loads(line) for line in program.output.splitlines() if line.startswith("{")]
    # Python's own is about a default of Celery's, and comes once.
    lines = [one for one in said if one["level"] in ("warning", "error") and one["logger"] != "py.warnings"]
    return [one["action"] for one in lines if one["action"] != "unsafe_setting"]


@pytest.fixture
def env(own_valkey: EmbeddedValkey, sqlite_server: Sqlite) -> Iterator[dict[str, str]]:
    with sqlite_server.migrated(upgrade) as url:
        settings = {"database_url": url, "broker_url": own_valkey.url, "platform_url": "http://127.0.0.1:9"}
        yield environment(**settings, log_format="json")


def test_beat_logs_once_a_minute_that_it_cannot_send_its_ticks(
    own_valkey: EmbeddedValkey, env: dict[str, str], tmp_path: Path
) -> None:
    with running_beat(env, tmp_path) as beat:
        with own_valkey.client() as client:
            eventually(lambda: client.llen("reconciler.ticks"), "a tick")
        own_valkey.kill()
        with listening_instead(own_valkey.url) as server:
            # It tries a few times for each tick.
            hang_up(server, times=16)
        beat.wait_for("broker_unavailable")
        assert warnings_of(beat) == ["broker_unavailable"]
        assert "Traceback" not in beat.output


@pytest.mark.parametrize("name", ["beat", "worker"])
def test_a_broker_that_is_away_at_the_start_is_one_line(
    own_valkey: EmbeddedValkey, env: dict[str, str], tmp_path: Path, name: str
) -> None:
    own_valkey.kill()
    with listening_instead(own_valkey.url) as server, ThreadPoolExecutor(1) as pool:
        hung_up = pool.submit(hang_up, server, times=3)
        with celery(name, env=env, log=tmp_path / "log") as program:
            hung_up.result()
            program.wait_for("broker_unavailable")
            assert warnings_of(program) == ["broker_unavailable"]


@pytest.mark.databases("postgresql")
def test_a_broker_that_dies_under_a_task_ends_neither_the_task_nor_the_worker(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    def enqueue(name: str) -> None:
        # What is refused is written last.
        send_tasks(own_valkey.url, ("reconciler.enqueue_orders", [[{"request_id": name}, "no order"]]))

    def ids() -> list[str]:
        return column_of(migrated_database_url, "SELECT request_id FROM recharge_orders ORDER BY request_id")

    env = environment(database_url=migrated_database_url, broker_url=own_valkey.url)
    with running_worker(env, tmp_path) as worker:
        with locked_table(migrated_database_url, "rejected_orders") as lock:
            enqueue("r1")
            lock.wait_for_waiting()
            own_valkey.kill()
            worker.wait_for("broker_unavailable")
        eventually(lambda: ids() == ["r1"], "the order of the task that was under way")
        own_valkey.start()
        enqueue("r2")
        eventually(lambda: ids() == ["r1", "r2"], "an order that the new broker accepted")
        assert "Unrecoverable" not in worker.output
        assert worker.stop() == 0


def test_a_worker_stops_within_the_documented_time_although_its_broker_does_not_answer(
    own_valkey: EmbeddedValkey, env: dict[str, str], tmp_path: Path
) -> None:
    with (
        through_proxy(own_valkey.url, 6379) as (proxy, broker),
        running_worker({**env, "RECONCILER_BROKER_URL": broker}, tmp_path) as worker,
    ):
        proxy.set(Mode.HOLD)
        # Its processes connect again and again; by then its main process has tried to send a heartbeat.
        eventually(lambda: proxy.held >= 8, "connections that are not answered")
        assert worker.stop(seconds=75.0) == 0


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads from Linux whether beat waits for its broker")
def test_beat_stops_although_its_broker_does_not_answer(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    port = f":{urlsplit(own_valkey.url).port:04X}"

    def is_left_unread() -> bool:
        fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(one[1].endswith(port) and not one[4].endswith(":00000000") for one in fields)

    pid = own_valkey.pid
    with running_beat(environment(broker_url=own_valkey.url, tick_seconds=0.05), tmp_path) as beat:
        with own_valkey.client() as client:
            eventually(lambda: client.llen("reconciler.ticks"), "a first tick")
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(is_left_unread, "a tick that the broker does not read")
            assert beat.stop() == 0
        finally:
            os.kill(pid, signal.SIGCONT)
