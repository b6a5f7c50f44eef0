"""`notify-test` sends one test event; `doctor` looks at endpoints and sends nothing."""

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection
from sqlalchemy import make_url
from standardwebhooks import Webhook

from tests.contract.platform.raw_server import RawServer, http
from tests.support.command_line import ACCOUNT, TOKEN, CommandLine
from tests.support.reconciling import Workbench

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()


@pytest.fixture
def receiver() -> Iterator[RawServer]:
    """Takes every event, and repeats a secret."""
    with RawServer(http(f"thank you, {SECRET}".encode(), status="202 Accepted")) as server:
        yield server


def to(url: str, secret: str = SECRET, **more: str) -> CommandLine:
    own = {"RECONCILER_NOTIFY_URL": f"{url}/hook?key=query-secret", "RECONCILER_NOTIFY_SECRET": secret}
    return CommandLine({**ACCOUNT, **own, **more})


def test_a_test_event_is_signed_and_what_came_back_is_shown(receiver: RawServer) -> None:
    done = to(receiver.url, f"{SECRET} {OLD_SECRET}").json("notify-test")
    assert (done["account"], done["to"], done["outcome"], done["http_status"]) == (
        *("default", receiver.url, "accepted", 202),
    )
    assert "thank you" in done["answer"]
    assert SECRET not in json.dumps(done)
    (request,) = receiver.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    for secret in (SECRET, OLD_SECRET):
        event: Any = Webhook(secret).verify(body, headers)
        assert (event["type"], event["data"]) == ("test", {"account": "default", "version": 0})
    assert headers["webhook-id"] == done["event_id"]


@pytest.mark.databases("postgresql")
def test_a_test_event_has_the_time_of_the_databases_clock(receiver: RawServer, bench: Workbench) -> None:
    # Found before the server's own function, by the path of this login.
    bench.run("CREATE SCHEMA ahead")
    hour_ahead = "SELECT pg_catalog.clock_timestamp() + interval '1 hour'"
    bench.run(f"CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $${hour_ahead}$$")
    # In this database alone: others use the server as the same role.
    here = f"ALTER ROLE CURRENT_USER IN DATABASE {make_url(bench.url).database}"
    bench.run(f"{here} SET search_path = ahead, pg_catalog, public")
    try:
        to(receiver.url, RECONCILER_DATABASE_URL=bench.url).json("notify-test")
    finally:
        bench.run(f"{here} RESET search_path")
    (request,) = receiver.requests
    (stamp,) = re.findall(rb"webhook-timestamp: (\d+)", request)
    assert abs(int(stamp) - 3600 - time.time()) < 60


def test_an_endpoint_that_takes_no_event_is_exit_status_1() -> None:
    with RawServer(http(b"no such route", status="404 Not Found")) as server:
        done = to(server.url).json("notify-test", "default", status=1)
    assert (done["outcome"], done["http_status"], done["answer"]) == ("http_error", 404, "no such route")
    shown = to("http://127.0.0.1:9").run("notify-test", status=1).stdout
    assert "unreachable" in shown
    assert "query-secret" not in shown


@pytest.mark.parametrize(
    ("status", "mostly"),
    [
        ("401 Unauthorized", "verifies with another secret"),
        ("404 Not Found", "the path of the URL"),
        ("500 Oops", None),
    ],
)
def test_a_failed_test_event_says_what_its_status_mostly_means(status: str, mostly: str | None) -> None:
    with RawServer(http(b"no", status=status)) as server:
        response = to(server.url).json("notify-test", status=1)
        shown = to(server.url).run("notify-test", status=1).stdout
    assert ("mostly" in response) is (mostly is not None)
    assert mostly is None or (mostly in response["mostly"] and mostly in shown)


def test_a_test_event_is_sent_as_a_task(redis_url: str) -> None:
    queue = "notify-test-queue"
    task = {"RECONCILER_NOTIFY_TASK": "billing.told", "RECONCILER_NOTIFY_QUEUE": queue}
    done = CommandLine({**ACCOUNT, **task, "RECONCILER_BROKER_URL": redis_url}).json("notify-test")
    assert (done["to"], done["outcome"]) == (f"task billing.told on queue {queue}", "accepted")
    with Connection(redis_url) as connection, connection.SimpleQueue(queue) as waiting:
        message = waiting.get(timeout=100)
        message.ack()
    assert (message.headers["task"], message.headers["id"]) == ("billing.told", done["event_id"])


def test_the_account_has_to_be_one_with_an_endpoint() -> None:
    assert "docs/notifications.md" in CommandLine().error("notify-test", status=2)
    assert "these have: default" in to("http://127.0.0.1:9").error("notify-test", "shop")


def findings(cli: CommandLine) -> list[dict[str, Any]]:
    return [
        one for one in json.loads(cli.run("doctor", "--json", status=None).stdout) if one["name"] == "notify_endpoint"
    ]


def test_the_doctor_resolves_a_receiver_s_host_and_sends_nothing(receiver: RawServer) -> None:
    (found,) = findings(to(receiver.url))
    assert (found["status"], found["remedy"]) == ("ok", None)
    assert "one secret signs" in found["detail"]
    assert receiver.requests == []
    (found,) = findings(to(receiver.url, f"{SECRET} {OLD_SECRET}"))
    assert "two secrets sign" in found["detail"]


def test_the_doctor_warns_of_a_host_without_an_address_and_of_http() -> None:
    (away,) = findings(to("https://billing.invalid"))
    assert (away["status"], "billing.invalid cannot be resolved" in away["detail"]) == ("warning", True)
    (_, is_open) = findings(to("http://10.0.0.1", RECONCILER_NOTIFY_ALLOW_HTTP="true"))
    assert (is_open["status"], "is http" in is_open["detail"]) == ("warning", True)
    shown = json.dumps([away, is_open])
    assert not any(secret in shown for secret in (SECRET, TOKEN, "query-secret"))


def test_the_doctor_names_the_task_of_an_endpoint() -> None:
    (found,) = findings(CommandLine({**ACCOUNT, "RECONCILER_NOTIFY_TASK": "billing.told"}))
    assert (found["status"], found["detail"]) == ("ok", "default: task billing.told on queue celery")
