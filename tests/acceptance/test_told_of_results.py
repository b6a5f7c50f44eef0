"""A billing system that takes notifications, as docs/integration.md prints one, ends with the platform's truth."""

import base64
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import FAST, environment, open_slots, running_platform, running_worker, send_tasks
from tests.support.raw_query import read_control, write_control
from tests.support.receivers_of_the_page import celery_receiver, flask_receiver, stored
from tests.support.server_process import free_port
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SETTINGS = {**FAST, "query_window_seconds": 0.5}
SECRET = "whsec_" + base64.b64encode(b"a secret of the acceptance tests").decode()
STATES = {"1": "succeeded", "-1": "failed"}


def reconcile(stack: ExitStack, urls: Mapping[str, str], folder: Path, **notify: str) -> dict[str, dict[str, Any]]:
    """Start a worker that tells somebody, and send it 150 orders; returns the platform's truth, by request id."""
    platform = stack.enter_context(running_platform(environment(**SETTINGS), folder, "--no-adopt"))
    placed = [
        {
            "request_id": f"20160100000{number:05d}",
            "mobile": f"188{number:08d}",
            "outcome": "-1" if number % 3 == 0 else "1",
            "amount": "0.00" if number % 3 == 0 else f"2.{number % 100:02d}",
            "settle_after": 0.0,
        }
        for number in range(150)
    ]
    assert write_control(platform, "orders", {"orders": placed}).status == 200
    env = environment(**urls, platform_url=platform, log_format="json", **SETTINGS, **notify)
    worker = stack.enter_context(running_worker(env, folder))
    open_slots(urls["database_url"])
    now = datetime.now(UTC).isoformat()
    orders = [{"request_id": one["request_id"], "mobile": one["mobile"], "submitted_at": now} for one in placed]
    send_tasks(urls["broker_url"], ("reconciler.enqueue_orders", [orders]))
    eventually(
        lambda: sum(row[1] in STATES.values() for row in stored(folder)) == len(orders),
        "every order's final state in the billing table",
    )
    worker.wait_for("notifications_delivered")
    assert worker.stop() == 0
    assert not [word for word in ("sender_failed", *(str(one["mobile"]) for one in placed)) if word in worker.output]
    return {order["request_id"]: order for order in read_control(platform, "truth")["orders"]}


def check_billing_table(folder: Path, truth: Mapping[str, Mapping[str, Any]]) -> None:
    held = {name: (state, Decimal(amount or 0)) for name, state, amount, _, _ in stored(folder)}
    assert held == {name: (STATES[one["outcome"]], Decimal(one["amount"] or 0)) for name, one in truth.items()}
    assert {state for state, _ in held.values()} == {"succeeded", "failed"}


@pytest.mark.databases("postgresql")
def test_the_receiver_with_flask_ends_with_the_platforms_truth(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    urls = {"database_url": migrated_database_url, "broker_url": own_valkey.url}
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(flask_receiver(tmp_path, secret=SECRET, port=port))
        to = {"notify_url": f"http://127.0.0.1:{port}/hooks/recharge", "notify_secret": SECRET}
        check_billing_table(tmp_path, reconcile(stack, urls, tmp_path, **to))


@pytest.mark.databases("sqlite")
def test_the_receiver_with_celery_ends_with_the_platforms_truth(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    urls = {"database_url": migrated_database_url, "broker_url": own_valkey.url}
    with ExitStack() as stack:
        stack.enter_context(celery_receiver(tmp_path, broker_url=own_valkey.url))
        to = {"notify_task": "billing.recharge_notified", "notify_queue": "billing"}
        check_billing_table(tmp_path, reconcile(stack, urls, tmp_path, **to))
