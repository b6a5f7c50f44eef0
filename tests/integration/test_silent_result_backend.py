"""A result backend that acknowledges bytes and never answers: tasks do not wait for it."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.support.databases import Sqlite
from tests.support.processes import environment, running_worker, send_tasks
from tests.support.proxy import Mode, through_proxy
from tests.support.servers import EmbeddedValkey
from tests.support.sql import column_of
from tests.support.waiting import eventually
from worker.celery import app
from worker.database.migrations import upgrade

ORDERS = 400
STORE_SECONDS = 2.0


@pytest.mark.slow
def test_orders_come_in_while_the_result_backend_is_silent(
    own_valkey: EmbeddedValkey, sqlite_server: Sqlite, tmp_path: Path
) -> None:
    order = ("reconciler.enqueue_order", [{"request_id": "again"}])
    with sqlite_server.migrated(upgrade) as url, through_proxy(own_valkey.url, 6379) as (proxy, backend):
        env = environment(database_url=url, broker_url=own_valkey.url, result_backend=backend, log_format="json")
        with running_worker(env, tmp_path) as worker:
            assert send_tasks(own_valkey.url, order, backend=backend)[0]["accepted"] == 1
            proxy.set(Mode.HOLD)
            orders = [("reconciler.enqueue_order", [{"request_id": f"r{number}"}]) for number in range(ORDERS)]
            send_tasks(own_valkey.url, *orders)
            count = "SELECT count(*) FROM recharge_orders"
            # Before there was a bound, one came in every two seconds: an eighth of them within this time.
            eventually(lambda: column_of(url, count) == [1 + ORDERS], "all orders")
            assert worker.output.count('"result_dropped"') == 1
            proxy.set(Mode.PASS)
            proxy.cut()
            answer = send_tasks(own_valkey.url, order, backend=backend)
            assert answer == [{"accepted": 0, "duplicates": 1, "rejected": []}]


@pytest.fixture
def silent_backend() -> Iterator[str]:
    # The kernel accepts connections that nothing reads from.
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def caller(backend: str) -> Celery:
    bounded = Celery(backend=backend)
    bounded.loader.override_backends = app.loader.override_backends
    return bounded


@pytest.mark.slow
def test_a_result_that_is_not_stored_within_two_seconds_is_dropped(silent_backend: str) -> None:
    backend = caller(silent_backend).backend
    began = time.monotonic()
    backend.store_result("first", {}, "SUCCESS")
    dropped_after = time.monotonic() - began
    for number in range(100):
        backend.store_result(f"later{number}", {}, "SUCCESS")
    assert STORE_SECONDS <= dropped_after < 2 * STORE_SECONDS
    # The first attempt has not ended: nothing waits behind it, or it would be for two seconds each time.
    assert time.monotonic() - began < 20 * STORE_SECONDS
