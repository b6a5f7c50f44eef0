"""The receivers of docs/notifications.md, run as printed: what is signed is booked once, and nothing older over it."""

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.integration.test_readme import blocks
from tests.unit.domain.builders import NOW, make_order
from worker.domain.order_notifications import body_of_test, notification_of_order
from worker.domain.records.notifications import EventType, Rank
from worker.domain.records.orders import OrderState

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "notifications.md").read_text("utf-8")
FLASK, CELERY = blocks("python", PAGE)
(TABLE,) = (text for text in blocks("text", PAGE) if text.startswith("CREATE TABLE"))
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def bodies() -> list[str]:
    """What is sent of one order: a success, what came before it, the success again, and a test event."""

    def body(event: EventType, version: int, **fields: Any) -> str:
        order = make_order(7, version=version, **fields)
        return notification_of_order(order, event, event_id="msg_1", changed_at=NOW, rank=Rank.RESULT).body

    success = body(EventType.SUCCEEDED, 12, state=OrderState.SUCCEEDED)
    unresolved = body(EventType.UNRESOLVED, 11, state=OrderState.UNRESOLVED)
    return [success, unresolved, success, body_of_test("default", NOW)]


@pytest.fixture
def billing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[tuple[Any, ...]]]]:
    """An empty billing table in the working directory; a function that reads it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECHARGE_SECRET", SECRET)
    monkeypatch.setenv("BILLING_BROKER", "memory://")
    connection = sqlite3.connect("billing.db")
    connection.execute(TABLE)
    yield lambda: connection.execute("SELECT request_id, state, version FROM recharges").fetchall()
    connection.close()


def run(example: str) -> dict[str, Any]:
    made: dict[str, Any] = {"__name__": "billing"}
    exec(compile(example, "docs/notifications.md", "exec"), made)
    return made


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # The examples leave it to Python to close their connection.
def test_the_flask_receiver_books_by_the_version_rule(billing: Callable[[], list[tuple[Any, ...]]]) -> None:
    client = run(FLASK)["app"].test_client()

    def post(body: str, secret: str = SECRET) -> int:
        now = datetime.now(UTC)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
        headers["webhook-signature"] = Webhook(secret).sign("msg_1", now, body)
        return int(client.post("/hooks/recharge", data=body.encode(), headers=headers).status_code)

    assert [post(body) for body in bodies()] == [204] * 4
    assert billing() == [("R7", "succeeded", 12)]
    forged = "whsec_" + base64.b64encode(b"x" * 32).decode()
    assert post(bodies()[0].replace("succeeded", "failed"), forged) == 401
    assert billing() == [("R7", "succeeded", 12)]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # As above.
def test_the_celery_receiver_books_by_the_version_rule(billing: Callable[[], list[tuple[Any, ...]]]) -> None:
    app = run(CELERY)["app"]
    task = app.tasks["billing.recharge_notified"]
    for body in bodies():
        task(event=json.loads(body))
    assert billing() == [("R7", "succeeded", 12)]


def test_the_page_names_every_type_and_every_field() -> None:
    data = json.loads(bodies()[0])["data"]
    (example,) = (json.loads(text) for text in blocks("json", PAGE))
    assert example["data"].keys() == data.keys()
    assert all(f"`{event}`" in PAGE for event in EventType)
