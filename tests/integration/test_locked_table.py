"""While a table is locked, callbacks are answered in time all the same."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.test_web_process import ACCOUNT, PATH
from worker.database.transactions import Database
from worker.domain.records.parameters import Rules
from worker.intake import Intake
from worker.settings import Settings
from worker.web.app import WebProcess
from worker.web.server import THREADS

PER_SECOND = 12
SECONDS = 8
LOCKS = {
    "postgresql": ("LOCK TABLE recharge_orders IN ACCESS EXCLUSIVE MODE", None),
    "mysql": ("LOCK TABLES recharge_orders WRITE", "UNLOCK TABLES"),
    "sqlite": ("SELECT 1", None),
}


@pytest.fixture
def process(migrated_database_url: str) -> Iterator[WebProcess]:
    process = WebProcess(Settings(database_url=migrated_database_url, **ACCOUNT))
    yield process
    process.close()


@pytest.mark.slow
def test_while_a_table_is_locked_every_callback_is_answered_within_five_seconds(
    migrated_database_url: str, process: WebProcess
) -> None:
    names = [f"r{number}" for number in range(PER_SECOND * SECONDS)]
    database = Database(migrated_database_url, pool_size=1)
    client = process.app().test_client
    began = time.monotonic()

    def post(number: int) -> tuple[int, float]:
        """The status, and the seconds since it was sent: a request waits for a thread, too."""
        body = f'{{"requestId": "r{number}", "trafficSts": "1", "oriAmount": "2.94"}}'.encode()
        status = client().post(PATH, data=body).status_code
        return status, time.monotonic() - began - number / PER_SECOND

    lock, unlock = LOCKS["mysql" if database.kind == "mariadb" else database.kind]
    try:
        Intake(database, Rules(), {"default": "app-1"}).enqueue_orders([{"request_id": name} for name in names])
        with ThreadPoolExecutor(THREADS) as threads, database.write() as connection:
            connection.exec_driver_sql(lock)
            began = time.monotonic()
            sent = []
            for number in range(len(names)):
                time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
                sent.append(threads.submit(post, number))
            answers = [each.result() for each in sent]
            if unlock is not None:
                connection.exec_driver_sql(unlock)
        assert {status for status, _ in answers} == {503}
        assert max(seconds for _, seconds in answers) < 5
    finally:
        database.close()
