"""The recorder of notifications of the fault tests: it keeps what it was sent, and answers as it was told."""

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from tests.faults.notification_recorder import CLOSE, DRIP_BODY, DRIP_HEADERS, GARBAGE, HANG, Answer
from tests.faults.recorder import SECRET, Recorder
from tests.support.raw_query import Answered, exchange

OTHER = "whsec_" + "b3RoZXI=" * 4
SHORT = 0.3
"""Seconds in which nothing must come."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    with Recorder(tmp_path_factory.mktemp("recorder")) as recorder:
        yield recorder


@pytest.fixture
def recorder(running: Recorder) -> Recorder:
    """One that accepts, and has had no delivery yet."""
    running.answers()
    running.file.write_bytes(b"")
    return running


def signed(body: str, event_id: str = "msg_1", secret: str = SECRET) -> dict[str, str]:
    """The headers of a delivery, signed by the library."""
    now = datetime.now(UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body),
    }


def body_of(name: str) -> str:
    return json.dumps({"type": "order.succeeded", "data": {"request_id": name, "remark": "成功"}})


def send(recorder: Recorder, body: str, headers: Mapping[str, str] | None = None, *, timeout: float = 20) -> Answered:
    parts = urlsplit(recorder.url)
    given = signed(body) if headers is None else headers
    return exchange(f"http://{parts.netloc}", "POST", parts.path, body.encode(), given, timeout=timeout)


def the_one(recorder: Recorder) -> dict[str, Any]:
    (delivery,) = recorder.deliveries()
    return delivery


def test_a_delivery_is_kept_as_it_came_and_accepted(recorder: Recorder) -> None:
    assert send(recorder, body_of("1")).status == 200
    kept = the_one(recorder)
    assert (kept["id"], kept["body"], kept["is_valid"], kept["accepts"]) == ("msg_1", body_of("1"), True, True)
    assert abs(kept["at"] - time.time()) < 60
    assert abs(kept["age"]) < 60


@pytest.mark.parametrize(
    "headers",
    [
        signed(body_of("2")),
        signed(body_of("1"), secret=OTHER),
        signed(body_of("1")) | {"webhook-id": "msg_2"},
        signed(body_of("1")) | {"webhook-timestamp": "1614265330"},
        signed(body_of("1")) | {"webhook-signature": "v1,"},
        {},
    ],
    ids=["another body", "another secret", "another id", "another time", "no signature in it", "no header"],
)
def test_what_is_not_signed_is_kept_as_forged_and_refused(recorder: Recorder, headers: dict[str, str]) -> None:
    assert send(recorder, body_of("1"), headers).status == 401
    assert (the_one(recorder)["is_valid"], the_one(recorder)["accepts"]) == (False, False)


def test_one_of_two_signatures_is_enough(recorder: Recorder) -> None:
    headers, other = signed(body_of("1")), signed(body_of("1"), secret=OTHER)
    both = f"{other['webhook-signature']} {headers['webhook-signature']}"
    assert send(recorder, body_of("1"), headers | {"webhook-signature": both}).status == 200


def test_it_answers_each_order_as_it_was_told(recorder: Recorder) -> None:
    away = Answer(status=503, headers={"Retry-After": "31536000"})
    recorder.answers(away, {"bad": Answer(status=500), "moved": Answer(status=307, headers={"Location": "/elsewhere"})})
    answers = {name: send(recorder, body_of(name)) for name in ("any", "bad", "moved")}
    assert {name: one.status for name, one in answers.items()} == {"any": 503, "bad": 500, "moved": 307}
    assert (answers["any"].headers["Retry-After"], answers["moved"].headers["Location"]) == ("31536000", "/elsewhere")
    assert not any(one["accepts"] for one in recorder.deliveries())


def test_an_answer_for_a_time_ends_by_itself(recorder: Recorder) -> None:
    recorder.answers(Answer(status=503, until=time.time() - 0.1))
    assert send(recorder, body_of("1")).status == 200


@pytest.mark.parametrize("how", [HANG, DRIP_HEADERS])
def test_headers_that_never_end_are_no_acceptance(recorder: Recorder, how: str) -> None:
    recorder.answers(Answer(how=how))
    with pytest.raises(TimeoutError):
        send(recorder, body_of("1"), timeout=SHORT)
    assert the_one(recorder)["accepts"] is False


def test_a_body_that_never_ends_is_an_acceptance_by_its_headers(recorder: Recorder) -> None:
    recorder.answers(Answer(how=DRIP_BODY))
    connection = http.client.HTTPConnection(urlsplit(recorder.url).netloc, timeout=SHORT)
    with closing(connection):
        connection.request("POST", "/notifications", body_of("1").encode(), signed(body_of("1")))
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(TimeoutError):
            response.read()
    assert the_one(recorder)["accepts"] is True


@pytest.mark.parametrize("how", [CLOSE, GARBAGE])
def test_a_connection_that_breaks_is_no_acceptance(recorder: Recorder, how: str) -> None:
    recorder.answers(Answer(how=how))
    with pytest.raises(http.client.HTTPException):
        send(recorder, body_of("1"))
    assert the_one(recorder)["accepts"] is False


def test_a_delivery_that_was_cut_off_is_not_kept(recorder: Recorder) -> None:
    parts = urlsplit(recorder.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as line:
        line.sendall(b"POST /notifications HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100) == b""
    assert recorder.deliveries() == []


def test_connections_are_kept(recorder: Recorder) -> None:
    with closing(http.client.HTTPConnection(urlsplit(recorder.url).netloc, timeout=20)) as connection:
        for _ in range(2):
            connection.request("POST", "/notifications", body_of("1").encode(), signed(body_of("1")))
            connection.getresponse().read()
            used = connection.sock
            assert used is not None
    assert len(recorder.deliveries()) == 2


def test_what_was_kept_survives_its_kill_and_so_do_port_and_orders(tmp_path: Path) -> None:
    with Recorder(tmp_path / "recorder", clock=tmp_path / "database.step") as recorder:
        url = recorder.url
        send(recorder, body_of("1"))
        recorder.kill()
        with pytest.raises(ConnectionRefusedError):
            send(recorder, body_of("2"))
        # As where it was killed while it wrote.
        with recorder.file.open("ab") as file:
            file.write(b'{"at": 1')
        (tmp_path / "database.step").write_text("86400")
        recorder.answers(Answer(status=410))
        recorder.start()
        assert (recorder.url, recorder.kills) == (url, 1)
        assert send(recorder, body_of("2")).status == 410
        first, second = recorder.deliveries()
        assert (first["accepts"], second["accepts"]) == (True, False)
        assert second["at"] - first["at"] > 86_000
        assert abs(second["age"]) < 60
