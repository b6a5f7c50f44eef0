"""Everything together: real workers and beat, the simulated platform as a process, and a caller of tasks."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import (
    FAST,
    Program,
    accounts_file,
    alike_accounts,
    environment,
    open_slots,
    running_beat,
    running_platform,
    running_worker,
    send_tasks,
)
from tests.support.raw_query import read_control, write_control
from tests.support.servers import EmbeddedValkey
from tests.support.sql import column_of, rows_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

WINDOW = 1.0
SETTINGS = {**FAST, "query_window_seconds": WINDOW}
STATES = {"1": "succeeded", "-1": "failed"}
ACCOUNTS = tuple(f"account{number}" for number in range(6))
ORDERS_EACH = 8
"""Of each of these accounts, polled one at a time."""


@dataclass
class Testbed:
    """Everything that runs for one test."""

    __test__ = False  # pytest would collect it by its name

    stack: ExitStack
    folder: Path
    database_url: str
    broker: str
    platform: str

    def env(self, **changes: object) -> dict[str, str]:
        urls = {"database_url": self.database_url, "broker_url": self.broker, "platform_url": self.platform}
        return environment(**urls, **{**SETTINGS, **changes})

    def worker(self, name: str = "worker", **changes: object) -> Program:
        return self.stack.enter_context(running_worker(self.env(**changes), self.folder, name=name))

    def beat(self) -> Program:
        return self.stack.enter_context(running_beat(self.env(), self.folder))

    def enqueue(self, orders: Sequence[dict[str, object]]) -> None:
        """Send orders to the worker as a billing system does."""
        lists = [orders[start : start + 100] for start in range(0, len(orders), 100)]
        send_tasks(self.broker, *(("reconciler.enqueue_orders", [listed]) for listed in lists))

    def wait_until_settled(self, count: int) -> None:
        def are_settled() -> bool:
            states = column_of(self.database_url, "SELECT state FROM recharge_orders")
            return len(states) == count and {*states} <= {*STATES.values()}

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
        columns = "request_id, state, ori_amount, settled_by, attention"
        rows = rows_of(self.database_url, f"SELECT {columns} FROM recharge_orders")
        assert len(rows) == len(truth)
        for request_id, state, amount, settled_by, attention in rows:
            expected = truth[request_id]
            assert (state, Decimal(amount)) == (STATES[expected["status"]], Decimal(expected["amount"]))
            assert (settled_by, attention) == ("query", None)


@contextmanager
def testbed(database_url: str, broker: str, folder: Path, *options: str, **settings: object) -> Iterator[Testbed]:
    with ExitStack() as stack:
        limit = environment(query_window_seconds=WINDOW, **settings)
        platform = stack.enter_context(running_platform(limit, folder, "--latency", "uniform:0,0.1", *options))
        yield Testbed(stack=stack, folder=folder, database_url=database_url, broker=broker, platform=platform)


def reconcile_250_orders_in_at_most_four_queries(database_url: str, broker: str, folder: Path) -> None:
    orders: list[dict[str, object]] = [
        {
            "request_id": f"2016{number:012d}",
            "mobile": f"188{number:08d}",
            "amount": "0.00" if number % 10 == 0 else f"{number % 7 + 1}.{number % 100:02d}",
            "outcome": "-1" if number % 10 == 0 else "1",
            "settle_after": 0.0,
        }
        for number in range(250)
    ]
    with testbed(database_url, broker, folder, "--no-adopt") as bed:
        worker, beat = bed.worker(), bed.beat()
        open_slots(database_url)
        assert write_control(bed.platform, "orders", {"orders": orders}).status == 200
        bed.enqueue([{key: order[key] for key in ("request_id", "mobile")} for order in orders])
        bed.wait_until_settled(250)
        assert (beat.stop(), worker.stop()) == (0, 0)
        bed.check_the_truth()
        record = bed.check_the_limit()
    assert len(record["arrivals"]) <= 4
    assert sum(len(arrival["ids"]) for arrival in record["arrivals"]) == 250
    assert column_of(database_url, "SELECT DISTINCT outcome FROM platform_queries") == ["answered"]


@pytest.mark.databases("sqlite")
def test_250_orders_on_sqlite_and_valkey(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    reconcile_250_orders_in_at_most_four_queries(migrated_database_url, own_valkey.url, tmp_path)


@pytest.mark.databases("mariadb")
@pytest.mark.brokers("rabbitmq")
def test_250_orders_on_mariadb_and_rabbitmq(migrated_database_url: str, broker_url: str, tmp_path: Path) -> None:
    reconcile_250_orders_in_at_most_four_queries(migrated_database_url, broker_url, tmp_path)


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
def test_two_workers_share_the_accounts_and_keep_the_limit(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    accounts = accounts_file(tmp_path, alike_accounts(ACCOUNTS))
    options = ("--delay", "fixed:0", "--failed-share", "0")
    with testbed(migrated_database_url, broker_url, tmp_path, *options, accounts_file=accounts) as bed:
        workers = [bed.worker(name, accounts_file=accounts, batch_size=1) for name in ("one", "two")]
        open_slots(migrated_database_url)
        orders: list[dict[str, object]] = [
            {"request_id": f"{name}-{number}", "account": name, "submitted_at": "2020-01-01T00:00:00+08:00"}
            for number in range(ORDERS_EACH)
            for name in ACCOUNTS
        ]
        bed.enqueue(orders)
        bed.beat()
        bed.wait_until_settled(len(orders))
        assert len(bed.check_the_limit()["smallest_spacing"]) == len(ACCOUNTS)
    # Each took a good part of the queries, and of more than one account.
    for worker in workers:
        queried = re.findall(r"querying the platform .*?account=(\S+)", worker.output)
        assert len(queried) >= len(ACCOUNTS) * ORDERS_EACH // 10
        assert len(set(queried)) > 1
