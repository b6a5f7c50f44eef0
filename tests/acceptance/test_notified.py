"""A real worker tells a billing system of a result, over HTTP and by a task of its Celery."""

import json
import os
import signal
from pathlib import Path

import pytest
from kombu import Connection, Queue

from tests.support.processes import environment, running_worker, send_tasks
from tests.support.raw_query import APP_ID
from tests.support.receiver import Receiver
from tests.support.waiting import eventually
from worker.database.transactions import Database
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_endpoints import forget_endpoint
from worker.stores.notify_endpoints import read_endpoints
from worker.views.accounts import read_workers

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql")]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUEUE = "billing.tests.acceptance"


def settle(broker_url: str, name: str) -> None:
    """An order, and the platform's callback about it."""
    callback = {"requestId": name, "appid": APP_ID, "trafficSts": "1", "oriAmount": "2.94", "mobile": "13800138000"}
    send_tasks(
        broker_url,
        ("reconciler.enqueue_order", [{"request_id": name, "mobile": "13800138000"}]),
        ("reconciler.record_callbacks", [[callback]]),
    )


def test_a_webhook_is_told_within_a_second_and_the_worker_ends_in_order(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    with Receiver() as receiver:
        urls = {"database_url": migrated_database_url, "broker_url": broker_url, "platform_url": "http://127.0.0.1:9"}
        env = environment(**urls, notify_url=receiver.url, notify_secret=SECRET, log_format="json")
        with running_worker(env, tmp_path) as worker:
            settle(broker_url, "r1")
            eventually(lambda: receiver.requests, "the notification")
            event = json.loads(receiver.requests[0].body)
            assert (event["type"], event["data"]["request_id"]) == ("order.succeeded", "r1")
            worker.wait_for("notifications_delivered")
            assert worker.stop() == 0
            assert "sender_failed" not in worker.output
            assert "13800138000" not in worker.output
    assert len(receiver.requests) == 1


def test_a_task_is_told_on_the_workers_own_broker(migrated_database_url: str, broker_url: str, tmp_path: Path) -> None:
    with Connection(broker_url) as connection, connection.channel() as channel:
        queue = Queue(QUEUE, channel=channel)
        queue.declare()
        queue.purge()
        urls = {"database_url": migrated_database_url, "broker_url": broker_url, "platform_url": "http://127.0.0.1:9"}
        env = environment(**urls, notify_task="billing.order_changed", notify_queue=QUEUE, log_format="json")
        try:
            with running_worker(env, tmp_path) as worker:
                settle(broker_url, "r1")
                message = eventually(lambda: queue.get(no_ack=True, accept=["json"]), "the message")
                worker.wait_for("notifications_delivered")
                assert worker.stop() == 0
        finally:
            queue.delete()
    assert message.headers["task"] == "billing.order_changed"
    _, kwargs, _ = message.payload
    assert kwargs["event"]["data"]["request_id"] == "r1"


def ticking(database: Database) -> set[int]:
    """The process ids of a worker's processes that have ticked."""
    with database.read() as connection:
        return {row.pid for row in read_workers(connection) if row.last_tick_at is not None}


def test_a_forgotten_endpoint_stays_forgotten_when_a_process_of_the_worker_is_replaced(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    urls = {"database_url": migrated_database_url, "broker_url": broker_url, "platform_url": "http://127.0.0.1:9"}
    env = environment(**urls, notify_url="http://127.0.0.1:9/hook", notify_secret=SECRET, tick_seconds=0.1)
    database = Database(migrated_database_url)
    with running_worker(env, tmp_path) as worker:
        eventually(lambda: len(ticking(database)) == 2, "two processes")
        first = ticking(database)
        assert forget_endpoint(database, Operator(name="ann"), "default") == (True, 0)
        os.kill(min(first), signal.SIGKILL)
        eventually(lambda: ticking(database) - first, "a process that replaces it")
        with database.read() as connection:
            assert read_endpoints(connection) == {}
        assert worker.stop() == 0
    database.close()
