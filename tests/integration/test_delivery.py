"""What a broker has accepted is applied, whichever process dies: real workers, brokers and databases."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.support.processes import environment, running_beat, running_worker, send_tasks
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from tests.support.waiting import eventually, locked_table
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

Task = tuple[str, list[object]]


def orders(*names: str) -> Task:
    """A task that enqueues these orders and one that is refused, which is written last."""
    return ("reconciler.enqueue_orders", [[*({"request_id": name} for name in names), "no order"]])


@contextmanager
def reading_from(url: str) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def ids_in(url: str) -> list[str]:
    with reading_from(url) as connection:
        return list(connection.exec_driver_sql("SELECT request_id FROM recharge_orders ORDER BY request_id").scalars())


def states_in(url: str) -> dict[str, str]:
    with reading_from(url) as connection:
        rows = connection.exec_driver_sql("SELECT request_id, state FROM recharge_orders").all()
        return {row[0]: row[1] for row in rows}


def survive_the_death_of_the_process(url: str, broker: str, folder: Path) -> None:
    with running_worker(environment(database_url=url, broker_url=broker), folder) as worker:
        with locked_table(url, "rejected_orders") as lock:
            send_tasks(broker, orders("r1", "r2"))
            lock.wait_for_waiting()
            for child in worker.children():
                os.kill(child, signal.SIGKILL)
            assert ids_in(url) == []
        eventually(lambda: ids_in(url) == ["r1", "r2"], "the orders of the task that was delivered again")
        send_tasks(broker, orders("r3"))
        eventually(lambda: ids_in(url) == ["r1", "r2", "r3"], "an order by the worker that still runs")


def lose_nothing_by_a_stop(url: str, broker: str, folder: Path) -> None:
    names = [f"r{number}" for number in range(8)]
    env = environment(database_url=url, broker_url=broker)
    with running_worker(env, folder) as worker:
        with locked_table(url, "rejected_orders") as lock:
            send_tasks(broker, *map(orders, names))
            # Both processes are busy, and more is held back in the worker.
            lock.wait_for_waiting(2)
            worker.send_signal(signal.SIGTERM)
            worker.wait_for("Warm shutdown")
            assert worker.children()
        assert worker.wait() == 0
    assert len(ids_in(url)) >= 2
    with running_worker(env, folder, name="next"):
        eventually(lambda: ids_in(url) == names, "the orders that the stopped worker had not begun with")


class KilledAndStopped:
    """What holds on every pair of servers."""

    def test_a_task_whose_process_is_killed_is_delivered_again(
        self, migrated_database_url: str, broker_url: str, tmp_path: Path
    ) -> None:
        survive_the_death_of_the_process(migrated_database_url, broker_url, tmp_path)

    def test_a_worker_that_stops_ends_its_tasks_and_leaves_the_others_to_the_next(
        self, migrated_database_url: str, broker_url: str, tmp_path: Path
    ) -> None:
        lose_nothing_by_a_stop(migrated_database_url, broker_url, tmp_path)


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
class TestPostgresqlAndRedis(KilledAndStopped):
    pass


@pytest.mark.databases("mariadb")
@pytest.mark.brokers("rabbitmq")
class TestMariadbAndRabbitmq(KilledAndStopped):
    def test_what_a_killed_worker_held_is_delivered_to_the_next(
        self, migrated_database_url: str, broker_url: str, tmp_path: Path
    ) -> None:
        # RabbitMQ notices at once; Redis only after the visibility timeout of minutes.
        env = environment(database_url=migrated_database_url, broker_url=broker_url)
        with running_worker(env, tmp_path) as worker, locked_table(migrated_database_url, "rejected_orders") as lock:
            send_tasks(broker_url, *map(orders, ("r1", "r2", "r3", "r4")))
            lock.wait_for_waiting(2)
            worker.kill()
        with running_worker(env, tmp_path, name="next"):
            eventually(lambda: ids_in(migrated_database_url) == ["r1", "r2", "r3", "r4"], "all orders")


def test_tasks_wait_for_a_database_that_is_away(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with EmbeddedPostgres() as postgres:
        upgrade(postgres.url)
        env = environment(database_url=postgres.url, broker_url=own_valkey.url)
        with running_worker(env, tmp_path) as worker:
            send_tasks(own_valkey.url, orders("r1", "r2"))
            eventually(lambda: ids_in(postgres.url) == ["r1", "r2"], "the first orders")
            postgres.kill()
            callback = {"requestId": "r1", "trafficSts": "1", "oriAmount": "2.94"}
            send_tasks(
                own_valkey.url,
                orders("r3"),
                ("reconciler.record_callbacks", [[callback]]),
                ("reconciler.cancel_orders", [[{"request_id": "r2"}]]),
            )
            # Each waits for a while, so that the queue stays at the broker, and is then sent again as a retry.
            worker.wait_for("Retry in", times=1, seconds=60)
            postgres.start()
            expected = {"r1": "succeeded", "r2": "cancelled", "r3": "pending"}
            eventually(lambda: states_in(postgres.url) == expected, "what was sent while the database was away")
            assert worker.stop() == 0


@pytest.mark.databases("sqlite")
def test_a_worker_consumes_again_once_its_broker_is_back(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    env = environment(database_url=migrated_database_url, broker_url=own_valkey.url)
    with running_worker(env, tmp_path) as worker:
        own_valkey.kill()
        worker.wait_for("broker_unavailable")
        own_valkey.start()
        send_tasks(own_valkey.url, orders("r1"))
        eventually(lambda: ids_in(migrated_database_url) == ["r1"], "an order that the new broker accepted")
        assert worker.stop() == 0


@pytest.mark.databases("postgresql")
def test_a_broker_that_dies_under_a_task_ends_neither_the_task_nor_the_worker(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    env = environment(database_url=migrated_database_url, broker_url=own_valkey.url)
    with running_worker(env, tmp_path) as worker:
        with locked_table(migrated_database_url, "rejected_orders") as lock:
            send_tasks(own_valkey.url, orders("r1"))
            lock.wait_for_waiting()
            own_valkey.kill()
            worker.wait_for("broker_unavailable")
        eventually(lambda: ids_in(migrated_database_url) == ["r1"], "the order of the task that was under way")
        own_valkey.start()
        send_tasks(own_valkey.url, orders("r2"))
        eventually(lambda: ids_in(migrated_database_url) == ["r1", "r2"], "an order that the new broker accepted")
        assert "Unrecoverable" not in worker.output
        assert worker.stop() == 0


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
            assert beat.stop(seconds=20) == 0
        finally:
            os.kill(pid, signal.SIGCONT)
