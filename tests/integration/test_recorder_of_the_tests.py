"""The recorder of notifications of the fault tests: one that accepted too much would hide a defect."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from tests.faults.notification_recorder import CLOSE, DRIP_BODY, DRIP_HEADERS, GARBAGE, HANG, Answer
from tests.faults.recorder import SECRET, Recorder

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


def body_of(name: str) -> str:
    return json.dumps({"type": "order.succeeded", "data": {"request_id": name, "remark": "成功"}})


def signed(name: str, secret: str = SECRET) -> dict[str, str]:
    """The headers of a delivery, signed by the library."""
    now = datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body_of(name)),
    }


def send(recorder: Recorder, name: str, headers: dict[str, str] | None = None, *, timeout: float = 20) -> int:
    """Deliver the event of an order; returns the status once the headers are whole."""
    with closing(http.client.HTTPConnection(urlsplit(recorder.url).netloc, timeout=timeout)) as connection:
        connection.request(
            "POST", "/notifications", body_of(name).encode(), signed(name) if headers is None else headers
        )
        return connection.getresponse().status


@pytest.mark.parametrize(
    "headers",
    [
        signed("2"),
        signed("1", OTHER),
        signed("1") | {"webhook-id": "msg_2"},
        signed("1") | {"webhook-timestamp": "1614265330"},
        signed("1") | {"webhook-signature": "v1,"},
        {},
    ],
    ids=["another body", "another secret", "another id", "another time", "no signature in it", "no header"],
)
def test_what_is_not_signed_is_kept_as_forged_and_refused(recorder: Recorder, headers: dict[str, str]) -> None:
    assert send(recorder, "1", headers) == 401
    assert [(one["is_valid"], one["accepts"]) for one in recorder.deliveries()] == [(False, False)]


@pytest.mark.parametrize(
    ("how", "error", "accepts"),
    [
        (HANG, TimeoutError, False),
        (DRIP_HEADERS, TimeoutError, False),
        (CLOSE, http.client.HTTPException, False),
        (GARBAGE, http.client.HTTPException, False),
        (DRIP_BODY, None, True),
    ],
)
def test_only_whole_headers_are_an_acceptance(
    recorder: Recorder, how: str, error: type[Exception] | None, accepts: bool
) -> None:
    recorder.answers(Answer(how=how))
    if error is None:
        assert send(recorder, "1") == 200
    else:
        with pytest.raises(error):
            send(recorder, "1", timeout=SHORT if error is TimeoutError else 20)
    recorder.wait_for(1)
    assert [one["accepts"] for one in recorder.deliveries()] == [accepts]


def test_what_was_kept_survives_its_kill_and_so_do_port_answers_and_the_stepped_clock(tmp_path: Path) -> None:
    with Recorder(tmp_path / "recorder", clock=tmp_path / "database.step") as recorder:
        url = recorder.url
        assert send(recorder, "1") == 200
        recorder.kill()
        with pytest.raises(ConnectionRefusedError):
            send(recorder, "2")
        # As where it was killed while it wrote.
        with recorder.file.open("ab") as file:
            file.write(b'{"at": 1')
        (tmp_path / "database.step").write_text("86400")
        recorder.answers(Answer(status=410), {"3": Answer(status=503, until=time.time() - 0.1)})
        recorder.start()
        assert (recorder.url, recorder.kills) == (url, 1)
        assert (send(recorder, "2"), send(recorder, "3")) == (410, 200)
        first, second, third = recorder.deliveries()
        assert [one["accepts"] for one in (first, second, third)] == [True, False, True]
        assert (first["id"], first["body"]) == ("msg_1", body_of("1"))
        assert second["at"] - first["at"] > 86_000
        assert max(abs(first["age"]), abs(second["age"])) < 60
