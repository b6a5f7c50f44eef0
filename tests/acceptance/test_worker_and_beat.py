"""Everything together: a real worker and beat, the simulated platform as a process, and a caller of tasks."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from kombu import Connection
from sqlalchemy.pool import NullPool

from tests.support.processes import (
    Program,
    environment,
    running_beat,
    running_platform,
    running_worker,
    send_tasks,
)
from tests.support.raw_query import read_control, write_control
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

WINDOW = 1.0
SETTINGS = {
    "query_window_seconds": WINDOW,
    "query_margin_seconds": 0.05,
    "request_deadline_seconds": 4,  # a loaded machine may take a second from the grant to the first byte
    "connect_timeout_seconds": 0.5,
    "callback_grace_seconds": 0.05,
    "tick_seconds": 0.1,
}
STATES = {"1": "succeeded", "-1": "failed"}


@dataclass
class Testbed:
    """Everything that runs for one test."""

    __test__ = False  # pytest would collect it by its name

    stack: ExitStack
    folder: Path
    database_url: str
    broker: str
    platform: str

    @property
    def env(self) -> dict[str, str]:
        urls = {"database_url": self.database_url, "broker_url": self.broker, "platform_url": self.platform}
        return environment(**urls, **SETTINGS)

    def worker(self, name: str = "worker") -> Program:
        return self.stack.enter_context(running_worker(self.env, self.folder, name=name))

    def beat(self, name: str = "beat") -> Program:
        return self.stack.enter_context(running_beat(self.env, self.folder, name=name))

    def place(self, orders: Sequence[dict[str, object]]) -> None:
        """Place orders at the platform, and send them to the worker as a billing system does."""
        assert write_control(self.platform, "orders", {"orders": orders}).status == 200
        known = [{key: order[key] for key in ("request_id", "mobile") if key in order} for order in orders]
        lists = [known[start : start + 100] for start in range(0, len(known), 100)]
        send_tasks(self.broker, *(("reconciler.enqueue_orders", [listed]) for listed in lists))

    def rows(self, statement: str) -> list[Any]:
        engine = sqlalchemy.create_engine(self.database_url, poolclass=NullPool)
        with engine.connect() as connection:
            return list(connection.exec_driver_sql(statement).all())

    def unsettled(self) -> int:
        return int(self.rows("SELECT count(*) FROM recharge_orders WHERE state NOT IN ('succeeded', 'failed')")[0][0])

    def wait_until_settled(self, count: int) -> None:
        def are_settled() -> bool:
            known = self.rows("SELECT count(*) FROM recharge_orders")[0][0]
            return known == count and self.unsettled() == 0

        eventually(are_settled, f"{count} orders in their final states")

    def check_the_limit(self) -> dict[str, Any]:
        """The platform's record shows no violation, and no spacing under the window."""
        record: dict[str, Any] = read_control(self.platform, "record")
        assert record["violations"] == []
        assert all(spacing is None or spacing >= WINDOW for spacing in record["smallest_spacing"].values())
        return record

    def check_the_truth(self) -> None:
        """Each order's final state and amount is the platform's own."""
        truth = {one["request_id"]: one for one in read_control(self.platform, "truth")["orders"]}
        rows = self.rows("SELECT request_id, state, ori_amount, settled_by, attention FROM recharge_orders")
        assert len(rows) == len(truth)
        for request_id, state, amount, settled_by, attention in rows:
            expected = truth[request_id]
            assert (state, Decimal(amount)) == (STATES[expected["status"]], Decimal(expected["amount"]))
            assert (settled_by, attention) == ("query", None)


@pytest.fixture
def testbed(migrated_database_url: str, broker_url: str, tmp_path: Path) -> Iterator[Testbed]:
    yield from built(migrated_database_url, broker_url, tmp_path)


@pytest.fixture
def small_testbed(migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Testbed]:
    yield from built(migrated_database_url, own_valkey.url, tmp_path)


def built(database_url: str, broker: str, folder: Path) -> Iterator[Testbed]:
    with ExitStack() as stack:
        options = ("--window", str(WINDOW), "--no-adopt", "--latency", "uniform:0,0.1")
        platform = stack.enter_context(running_platform(environment(), folder, *options))
        yield Testbed(stack=stack, folder=folder, database_url=database_url, broker=broker, platform=platform)


def some_orders(count: int, **fields: object) -> list[dict[str, object]]:
    """Orders that have settled at the platform already, each tenth as failed."""
    return [
        {
            "request_id": f"2016{number:012d}",
            "mobile": f"188{number:08d}",
            "amount": "0.00" if number % 10 == 0 else f"{number % 7 + 1}.{number % 100:02d}",
            "outcome": "-1" if number % 10 == 0 else "1",
            "settle_after": 0.0,
            **fields,
        }
        for number in range(count)
    ]


def reconcile_250_orders_in_at_most_four_queries(testbed: Testbed) -> None:
    worker, beat = testbed.worker(), testbed.beat()
    testbed.place(some_orders(250))
    testbed.wait_until_settled(250)
    assert (beat.stop(), worker.stop()) == (0, 0)
    testbed.check_the_truth()
    record = testbed.check_the_limit()
    assert record["counts"]["arrivals"] <= 4
    assert record["counts"]["ids"] == 250
    outcomes = testbed.rows("SELECT DISTINCT outcome FROM platform_queries")
    assert outcomes == [("answered",)]


@pytest.mark.databases("sqlite")
def test_250_orders_on_sqlite_and_valkey(small_testbed: Testbed) -> None:
    reconcile_250_orders_in_at_most_four_queries(small_testbed)


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
def test_250_orders_on_postgresql_and_redis(testbed: Testbed) -> None:
    reconcile_250_orders_in_at_most_four_queries(testbed)


@pytest.mark.databases("mariadb")
@pytest.mark.brokers("rabbitmq")
def test_250_orders_on_mariadb_and_rabbitmq(testbed: Testbed) -> None:
    reconcile_250_orders_in_at_most_four_queries(testbed)


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
def test_two_workers_two_beats_and_a_flood_of_forged_ticks_keep_the_limit(testbed: Testbed) -> None:
    workers = [testbed.worker("one"), testbed.worker("two")]
    beats = [testbed.beat("first-beat"), testbed.beat("second-beat")]
    testbed.place(some_orders(250, settle_after=1.5))
    headers = {"task": "reconciler.reconcile", "id": "forged", "lang": "py"}
    with Connection(testbed.broker) as connection, connection.Producer() as producer:
        for number in range(200):
            body = [[], {}, {}] if number % 2 else [["junk", number], {"junk": None}, {}]
            producer.publish(body, serializer="json", routing_key="reconciler.ticks", headers=headers)
    testbed.wait_until_settled(250)
    assert [program.stop() for program in beats + workers] == [0, 0, 0, 0]
    testbed.check_the_truth()
    testbed.check_the_limit()
    assert all("Traceback" not in program.output for program in workers)


@pytest.mark.databases("sqlite")
def test_without_beat_the_worker_ticks_by_itself(small_testbed: Testbed) -> None:
    worker = small_testbed.worker()
    small_testbed.place(some_orders(20))
    small_testbed.wait_until_settled(20)
    assert worker.stop() == 0
    small_testbed.check_the_limit()


@pytest.mark.databases("sqlite")
def test_a_stop_waits_for_the_query_that_is_under_way(small_testbed: Testbed) -> None:
    worker = small_testbed.worker()
    assert write_control(small_testbed.platform, "faults", {"latency": "fixed:3"}).status == 200
    small_testbed.beat()
    small_testbed.place(some_orders(20))
    eventually(lambda: read_control(small_testbed.platform, "record")["arrivals"], "a query at the platform")
    assert worker.stop() == 0
    small_testbed.check_the_truth()
    assert small_testbed.rows("SELECT outcome FROM platform_queries") == [("answered",)]
