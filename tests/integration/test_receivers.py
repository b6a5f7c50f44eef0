"""The receivers of docs/integration.md, as printed: what they keep of events that come twice, late or forged."""

import base64
import itertools
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from standardwebhooks import Webhook

from tests.support.receivers_of_the_page import CELERY, FLASK, PAGE, TABLE, celery_receiver, example, stored
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from worker.domain.records.notifications import EventType
from worker.domain.records.orders import Source

SECRET, NEXT = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))
BODY: dict[str, Any] = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])


def event(version: int = 1, event_type: str = "order.succeeded", **data: Any) -> dict[str, Any]:
    """An event as the page shows one, with another version and further changes."""
    return BODY | {"type": event_type, "data": BODY["data"] | {"version": version} | data}


def row(version: int, state: str = "succeeded") -> tuple[Any, ...]:
    return "2016010000000219", state, "2.94", None, version


@dataclass(frozen=True)
class Signed:
    """A request to the receiver with Flask."""

    body: str
    headers: dict[str, str]


def signed(body: str, *secrets: str, event_id: str = "msg_1", age: timedelta = timedelta()) -> Signed:
    """A body with a signature by each secret, made so long ago."""
    at = datetime.now(UTC) - age
    signatures = [Webhook(secret).sign(event_id, at, body) for secret in secrets or (SECRET,)]
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    return Signed(body, headers)


class FlaskReceiver:
    """The receiver with Flask, in this process, with `billing.py` beside it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, secret: str = SECRET) -> None:
        (folder / "billing.py").write_text(example(TABLE))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "billing", raising=False)
        monkeypatch.setenv("NOTIFY_SECRET", secret)
        program: dict[str, Any] = {"__name__": "receiver"}
        exec(compile(example(FLASK), "receiver.py", "exec"), program)
        monkeypatch.delitem(sys.modules, "billing")
        self._client = program["app"].test_client()

    def post(self, request: Signed) -> int:
        """The status that it answers."""
        return int(
            self._client.post("/hooks/recharge", data=request.body.encode(), headers=request.headers).status_code
        )

    def take(self, *events: dict[str, Any]) -> None:
        """Have it accept events."""
        for one in events:
            assert self.post(signed(json.dumps(one, ensure_ascii=False))) == 204


@pytest.fixture
def flask_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskReceiver:
    return FlaskReceiver(tmp_path, monkeypatch)


EVENTS = [event(1, "order.failed", state="failed"), event(2, "order.reopened", state="pending"), event(3)]
ORDERS = list(itertools.permutations(EVENTS))


@pytest.mark.parametrize("events", ORDERS, ids=[str([one["data"]["version"] for one in some]) for some in ORDERS])
def test_the_last_version_is_kept_in_whatever_order_events_come(
    flask_receiver: FlaskReceiver, events: Sequence[dict[str, Any]]
) -> None:
    flask_receiver.take(*events, *reversed(events))
    assert stored(Path()) == [row(3)]


def test_an_event_that_comes_twice_changes_nothing_the_second_time(flask_receiver: FlaskReceiver) -> None:
    flask_receiver.take(event(7), event(7, state="failed"), event(7))
    assert stored(Path()) == [row(7)]


def test_a_cleared_attention_is_kept_too(flask_receiver: FlaskReceiver) -> None:
    flask_receiver.take(event(1, attention="late_conflict"), event(2, "order.attention"))
    assert stored(Path()) == [row(2)]


def test_an_amount_that_is_only_a_price_is_kept_as_one(flask_receiver: FlaskReceiver) -> None:
    of_an_older_release = {name: value for name, value in event(1)["data"].items() if name != "amount_is_price"}
    kept = []
    for one in (event(1) | {"data": of_an_older_release}, event(2), event(3, "order.failed", amount_is_price=True)):
        flask_receiver.take(one)
        with closing(sqlite3.connect("billing.db")) as billing:
            kept += billing.execute("SELECT version, ori_amount, amount_is_price FROM recharges").fetchall()
    assert kept == [(1, "2.94", None), (2, "2.94", 0), (3, "2.94", 1)]


def test_a_test_event_is_accepted_and_not_kept(flask_receiver: FlaskReceiver) -> None:
    flask_receiver.take({"type": "test", "timestamp": "2016-01-31T10:05:00+00:00", "data": {}})
    assert stored(Path()) == []


TEXT = json.dumps(event(1))


def good() -> Signed:
    """What is accepted now: a signature is good for five minutes."""
    return signed(TEXT)


def with_header(name: str, value: str) -> Signed:
    """The same with another header."""
    return Signed(TEXT, good().headers | {name: value})


FORGED: dict[str, Callable[[], Signed]] = {
    "another secret": lambda: signed(TEXT, NEXT),
    "another body": lambda: Signed(TEXT.replace("succeeded", "failed"), good().headers),
    "another id": lambda: with_header("webhook-id", "msg_2"),
    "signed six minutes ago": lambda: signed(TEXT, age=timedelta(minutes=6)),
    "signed for a time to come": lambda: signed(TEXT, age=timedelta(minutes=-6)),
    "no signature": lambda: Signed(TEXT, {}),
    "a signature that is none": lambda: with_header("webhook-signature", "nonsense"),
    "a signature in no base64": lambda: with_header("webhook-signature", "v1,é"),
    "a time that is none": lambda: with_header("webhook-timestamp", "yesterday"),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_is_forged_is_refused_and_not_kept(flask_receiver: FlaskReceiver, what: str) -> None:
    assert flask_receiver.post(FORGED[what]()) == 401
    assert stored(Path()) == []


def test_what_is_no_json_is_refused_even_where_it_is_signed(flask_receiver: FlaskReceiver) -> None:
    assert flask_receiver.post(signed("{")) == 401


@pytest.mark.parametrize("secret", [SECRET, NEXT], ids=["old secret", "new secret"])
def test_a_request_signed_with_both_secrets_is_accepted_by_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    assert FlaskReceiver(tmp_path, monkeypatch, secret).post(signed(TEXT, SECRET, NEXT)) == 204
    assert stored(Path()) == [row(1)]


def test_nothing_is_accepted_while_the_database_is_away(flask_receiver: FlaskReceiver, tmp_path: Path) -> None:
    (tmp_path / "billing.db").mkdir()
    assert flask_receiver.post(good()) == 503
    (tmp_path / "billing.db").rmdir()
    flask_receiver.take(event(1))
    assert stored(Path()) == [row(1)]


@pytest.mark.slow
def test_the_receiver_with_celery_keeps_the_rule_and_loses_nothing_to_a_database_that_was_away(
    own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    (tmp_path / "billing.db").mkdir()
    with celery_receiver(tmp_path, broker_url=own_valkey.url) as receiver:
        send(own_valkey.url, [event(3)])
        receiver.wait_for("Retry in")
        (tmp_path / "billing.db").rmdir()
        eventually(lambda: stored(tmp_path), "the event that came while the database was away")
        send(own_valkey.url, [event(1, state="failed"), event(3), event(2, state="pending"), event(4)])
        eventually(lambda: stored(tmp_path) == [row(4)], "the last version")


# All that is sent: the task and the queue by name, and the event as its one argument.
_SEND = """
import json, sys
from celery import Celery
app = Celery(broker=sys.argv[1])
for event in json.load(sys.stdin):
    app.send_task("billing.recharge_notified", kwargs={"event": event}, queue="billing", ignore_result=True)
"""


def send(broker: str, events: list[dict[str, Any]]) -> None:
    subprocess.run([sys.executable, "-c", _SEND, broker], input=json.dumps(events), text=True, check=True, timeout=60)


def test_each_receiver_has_about_twenty_lines() -> None:
    for title in (TABLE, FLASK, CELERY):
        assert sum(bool(line) for line in example(title).splitlines()) <= 22, title


def rows_of_table(heading: str) -> Iterator[str]:
    """The words in the first column of the table below a line of the page."""
    lines = PAGE.split(heading)[1].split("\n\n")[0].splitlines()
    for line in lines[1:]:
        yield from re.findall(r"`([\w.]+)`", line.split("|")[1])


def test_the_page_explains_every_type_every_field_and_every_source() -> None:
    assert sorted(rows_of_table("| `type` | comes when |")) == sorted(EventType)
    assert sorted(rows_of_table("| field | |")) == sorted({*BODY, *BODY["data"]} - {"data"})
    sources = next(line for line in PAGE.splitlines() if line.startswith("| `source`"))
    assert set(re.findall(r"`(\w+)`", sources)) == {"source", *Source}


@pytest.mark.databases("postgresql")
def test_the_statement_of_the_billing_table_runs_on_postgresql(database_url: str) -> None:
    program: dict[str, Any] = {}
    exec(compile(example(TABLE), "billing.py", "exec"), program)
    engine = sqlalchemy.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(program["TABLE"])
        statement = sqlalchemy.text(program["NEWER"])
        written = [connection.execute(statement, event(number)["data"]).rowcount for number in (2, 1, 2, 3)]
    engine.dispose()
    assert written == [1, 0, 0, 1]
