"""What one process of `reconciler serve` holds, on a database that is there and on one that is away."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from flask import Flask

from tests.support.sql import execute
from tests.support.waiting import eventually
from worker.database.engine import LOCK_SECONDS
from worker.database.transactions import Database
from worker.domain.callbacks.bodies import Callback
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Rejection
from worker.domain.records.orders import OrderKey
from worker.process.intake import Intake
from worker.settings import Settings
from worker.web.app import WebProcess
from worker.web.callbacks import PATIENCE_SECONDS

TOKEN = "a-token-of-the-account-1"
PATH = f"/callbacks/default/{TOKEN}"
ACCOUNT = {"account_sid": "s" * 32, "auth_token": "the-auth-token", "app_id": "app-1", "callback_token": TOKEN}


@contextmanager
def serving(url: str, intake: type[Intake] = Intake) -> Iterator[Flask]:
    process = WebProcess(Settings(database_url=url, **ACCOUNT), intake=intake)
    try:
        yield process.app()
    finally:
        process.close()


def test_while_the_database_is_away_callbacks_are_put_off_and_the_process_is_not_ready() -> None:
    with serving("postgresql://reconciler:sesame-street@127.0.0.1:9/reconciler") as app:
        away = app.test_client()
        answer = away.post(PATH, data=b'{"requestId": "r1"}')
        assert (answer.status_code, answer.text) == (503, "not committed: send it again")
        ready = away.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "the database is away\n")
        assert away.get("/livez").status_code == 200
        assert away.post("/callbacks/default/wrong").status_code == 404


@pytest.mark.databases("sqlite")
def test_while_sqlites_one_lock_is_held_all_callbacks_are_put_off_within_five_seconds(
    migrated_database_url: str,
) -> None:
    with (
        serving(migrated_database_url) as app,
        closing(Database(migrated_database_url)) as holder,
        ThreadPoolExecutor(10) as threads,
        holder.write(),
    ):
        began = time.monotonic()
        sent = [threads.submit(app.test_client().post, PATH, data=b'{"requestId": "r1"}') for _ in range(10)]
        assert {one.result().status_code for one in sent} == {503}
        # Each waits for its commit, and none for the lock itself.
        assert PATIENCE_SECONDS < 5
        assert time.monotonic() - began < LOCK_SECONDS


def test_a_database_that_is_not_migrated_is_not_ready(database_url: str) -> None:
    with serving(database_url) as app:
        ready = app.test_client().get("/readyz")
    assert ready.status_code == 503
    assert ready.text.startswith("the database is at revision none, but needs 0")


def test_callbacks_are_committed_and_matched(migrated_database_url: str) -> None:
    with serving(migrated_database_url) as app:
        client = app.test_client()
        assert client.get("/readyz").status_code == 200
        assert client.post(PATH, data=b'{"requestId": "r1", "trafficSts": "1"}').text == "Success"
        assert client.post("/elsewhere").text == "Not Found\n"
        assert client.get(PATH).text == "Method Not Allowed\n"
        assert client.get("/callbacks/default", headers={"Accept": "text/html"}).text == "Not Found\n"
        assert client.get("/livez").text == "alive\n"


@pytest.mark.parametrize(
    "statement", ["ALTER TABLE unmatched_callbacks DROP COLUMN trust", "DROP TABLE unmatched_callbacks"]
)
def test_while_the_database_is_at_another_revision_callbacks_are_put_off(
    migrated_database_url: str, statement: str
) -> None:
    execute(migrated_database_url, statement)
    with serving(migrated_database_url) as app:
        assert app.test_client().post(PATH, data=b'{"requestId": "r1"}').status_code == 503


@pytest.mark.databases("sqlite")
def test_while_matching_is_slow_callbacks_are_taken_in_and_few_wait_for_it(migrated_database_url: str) -> None:
    gate, asked = threading.Event(), list[Sequence[OrderKey]]()

    class SlowMatching(Intake):
        def match_callbacks(self, keys: Sequence[OrderKey]) -> None:
            assert gate.wait(100)
            asked.append(keys)

    with serving(migrated_database_url, SlowMatching) as app:
        client = app.test_client()
        answers = [client.post(PATH, data=b'{"requestId": "r%d"}' % number).status_code for number in range(50)]
        # This is refused, and has nothing to match: its commit comes after all others found a place or none.
        answers.append(client.post(PATH, data=b"junk").status_code)
        gate.set()
        eventually(lambda: len(asked) >= 32, "what waits for its matching")
    assert answers == [200] * 51
    assert len(asked) == 32


@pytest.mark.slow
@pytest.mark.databases("postgresql", "mariadb")
def test_somebody_who_holds_an_order_delays_only_its_own_callback(migrated_database_url: str) -> None:
    names = [f"r{number}" for number in range(10)]
    under_way = threading.Event()

    class Seen(Intake):
        def receive_callbacks(self, received: Sequence[Callback | Rejection]) -> list[OrderKey]:
            under_way.set()
            return super().receive_callbacks(received)

    with serving(migrated_database_url, Seen) as app, closing(Database(migrated_database_url, pool_size=1)) as database:
        Intake(database, Rules(), {"default": "app-1"}).enqueue_orders([{"request_id": name} for name in names])
        client = app.test_client

        def status(name: str) -> int:
            # One is refused, and committed as such.
            app_id = "another" if name == "r9" else "app-1"
            said = {"requestId": name, "appid": app_id, "trafficSts": "1"}
            return client().post(PATH, data=json.dumps(said).encode()).status_code

        with database.write() as connection, ThreadPoolExecutor(len(names) + 1) as pool:
            connection.exec_driver_sql("SELECT * FROM recharge_orders WHERE request_id = 'r0' FOR UPDATE")
            # The first is committed alone, and the others wait for it: as long as this at most.
            assert PATIENCE_SECONDS < 5
            first = pool.submit(status, "r0")
            assert under_way.wait(100)
            # A slow machine may commit one too late: its sender sends it again.
            expected = [503, *[200] * 9]
            eventually(lambda: list(pool.map(status, names)) == expected, "commits of all others")
            assert first.result() == 503
        assert status("r0") == 200
