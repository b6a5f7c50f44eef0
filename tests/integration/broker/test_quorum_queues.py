"""RabbitMQ whose queues are quorum queues: what the documents say of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Queue

from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.databases import Sqlite
from tests.support.needed import needed
from tests.support.processes import environment, running_worker, send_tasks
from tests.support.rabbitmq import OwnRabbitmq
from tests.support.sql import column_of
from tests.support.waiting import eventually, last_seen
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

QUEUES = {"reconciler.orders", "reconciler.orders.later", "reconciler.ticks"}
RETURNS = 20


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[OwnRabbitmq]:
    needed("rabbitmq-server")
    with OwnRabbitmq() as server:
        # As in docs/scaling.md.
        server.control("add_vhost", "reconciler", "--default-queue-type", "quorum")
        server.control("set_permissions", "-p", "reconciler", "guest", ".*", ".*", ".*")
        yield server


@pytest.fixture
def quorum_url(rabbitmq: OwnRabbitmq) -> str:
    return f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}/reconciler"


@pytest.fixture
def database_url(sqlite_server: Sqlite) -> Iterator[str]:
    with sqlite_server.migrated(upgrade) as url:
        yield url


def doctor(database_url: str, broker_url: str) -> dict[str, str]:
    """What the doctor says of the queues."""
    settings = {
        "RECONCILER_DATABASE_URL": database_url,
        "RECONCILER_BROKER_URL": broker_url,
        "RECONCILER_PLATFORM_URL": "http://127.0.0.1:9",
    }
    check: dict[str, str] = CommandLine({**ACCOUNT, **settings}).checks()["queues"]
    return check


def test_a_virtual_host_of_quorum_queues_takes_orders_in(
    rabbitmq: OwnRabbitmq, quorum_url: str, database_url: str, tmp_path: Path
) -> None:
    assert doctor(database_url, quorum_url)["status"] == "ok"
    assert rabbitmq.control("list_queues", "-p", "reconciler", "name") in ([], ["name"])
    env = environment(database_url=database_url, broker_url=quorum_url)
    with running_worker(env, tmp_path) as worker:
        orders = [{"request_id": f"r{number}"} for number in range(50)]
        send_tasks(quorum_url, *(("reconciler.enqueue_order", [order]) for order in orders))
        eventually(lambda: column_of(database_url, "SELECT count(*) FROM recharge_orders") == [50], "all orders")
        assert worker.stop() == 0
    listed = rabbitmq.control("list_queues", "-p", "reconciler", "name", "type")
    types = {name: kind for name, kind in (line.split() for line in listed) if name in QUEUES}
    assert types == dict.fromkeys(QUEUES, "quorum")
    assert doctor(database_url, quorum_url)["status"] == "ok"


def test_the_doctor_names_a_queue_that_cannot_be_declared(rabbitmq: OwnRabbitmq, database_url: str) -> None:
    with Connection(rabbitmq.url) as connection:
        arguments = {"x-queue-type": "quorum"}
        queue = Queue("reconciler.orders", channel=connection.default_channel, queue_arguments=arguments)
        queue.declare()
        found = doctor(database_url, rabbitmq.url)
        queue.delete()
    assert found["status"] == "warning"
    assert "reconciler.orders" in found["detail"]
    assert "PRECONDITION_FAILED" in found["detail"]
    assert "docs/scaling.md" in found["remedy"]


def test_a_quorum_queue_drops_a_message_that_was_returned_too_often(quorum_url: str) -> None:
    with Connection(quorum_url) as connection:
        queue = Queue("returned", channel=connection.default_channel, durable=True)
        queue.declare()
        connection.Producer().publish({}, routing_key="returned")
        deliveries = 0
        while (message := last_seen(queue.get, seconds=2.0)) is not None:
            deliveries += 1
            message.requeue()
        queue.delete()
    assert deliveries == RETURNS + 1
