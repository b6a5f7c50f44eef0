"""Two workers that share only the database and the broker divide the accounts and keep the limit."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.support.processes import environment, running_beat, running_platform, running_worker, send_tasks
from tests.support.raw_query import TOKEN, read_control
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

WINDOW = 1.0
ACCOUNTS = tuple(f"account{number}" for number in range(6))
SETTINGS = {
    "query_window_seconds": WINDOW,
    "query_margin_seconds": 0.05,
    "request_deadline_seconds": 1,
    "connect_timeout_seconds": 0.5,
    "callback_grace_seconds": 0.05,
    "tick_seconds": 0.1,
    "batch_size": 1,
}
OPEN = "state NOT IN ('succeeded', 'failed')"
ORDERS_EACH = 8
"""Of each account, polled one at a time."""


def accounts_file(folder: Path) -> Path:
    path = folder / "accounts.toml"
    path.write_text(
        "".join(
            f'[{name}]\naccount_sid = "sid-{name}"\nauth_token = "{TOKEN}"\napp_id = "app-{name}"\n'
            for name in ACCOUNTS
        )
    )
    path.chmod(0o600)
    return path


def known(url: str, condition: str = "1 = 1") -> int:
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM recharge_orders WHERE {condition}").scalar_one())


def test_two_workers_share_the_accounts_and_keep_the_limit(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        given = [f"--account=sid-{name}:{TOKEN}:app-{name}" for name in ACCOUNTS]
        options = (
            "--window",
            str(WINDOW),
            "--delay",
            "fixed:0",
            "--failed-share",
            "0",
            "--latency",
            "uniform:0,0.1",
            *given,
        )
        platform = stack.enter_context(running_platform(environment(), tmp_path, *options))
        urls = {"database_url": migrated_database_url, "broker_url": broker_url, "platform_url": platform}
        env = environment(**urls, accounts_file=accounts_file(tmp_path), **SETTINGS)
        workers = [stack.enter_context(running_worker(env, tmp_path, name=name)) for name in ("one", "two")]
        orders = [
            {"request_id": f"{name}-{number}", "account": name, "submitted_at": "2020-01-01T00:00:00+08:00"}
            for number in range(ORDERS_EACH)
            for name in ACCOUNTS
        ]
        send_tasks(broker_url, ("reconciler.enqueue_orders", [orders]))
        stack.enter_context(running_beat(env, tmp_path))
        eventually(lambda: known(migrated_database_url) == len(orders), "the orders")
        eventually(lambda: known(migrated_database_url, OPEN) == 0, "every order's final state", seconds=90)
        record = read_control(platform, "record")
    assert record["violations"] == []
    spacings = record["smallest_spacing"]
    assert len(spacings) == len(ACCOUNTS)
    assert all(spacing >= WINDOW for spacing in spacings.values())
    # Each took a good part of the queries, and of more than one account.
    for worker in workers:
        queried = re.findall(r"querying the platform .*?account=(\S+)", worker.output)
        assert len(queried) >= len(ACCOUNTS) * ORDERS_EACH // 10
        assert len(set(queried)) > 1
