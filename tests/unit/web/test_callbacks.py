"""The route of callbacks, without a database: who is let in, and what is answered."""

from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from worker.domain.callbacks.bodies import Callback
from worker.domain.records.incoming import Rejection, Trust
from worker.settings import Settings
from worker.web.app import log_requests
from worker.web.callbacks import BodyBroken, callback_routes, read_whole

ACCOUNT = {"account_sid": "s" * 32, "auth_token": "the-auth-token", "app_id": "app-1"}
TOKEN = "a-token-of-the-account-1"
PATH = f"/callbacks/default/{TOKEN}"
BODY = b'{"requestId": "R1", "trafficSts": "1"}'


class Receiver:
    """The app over a list in the place of the database."""

    def __init__(self, **changed: object) -> None:
        self.taken: list[Callback | Rejection] = []
        self.error: Exception | None = None
        settings = Settings(**{**ACCOUNT, "callback_token": TOKEN, **changed})
        app = Flask(__name__)
        log_requests(app)
        app.register_blueprint(callback_routes(settings, self._submit))
        self.client: FlaskClient = app.test_client()

    def _submit(self, callback: Callback | Rejection) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append(callback)

    def post(self, path: str = PATH, body: bytes = BODY, **headers: str) -> tuple[int, str]:
        answer = self.client.post(path, data=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        return answer.status_code, answer.text


def test_a_callback_is_taken_in_and_answered_with_the_reply() -> None:
    receiver = Receiver(callback_trust=Trust.CHECK, callback_reply="OK then")
    assert receiver.post() == (200, "OK then")
    (taken,) = receiver.taken
    assert isinstance(taken, Callback)
    assert (taken.account, taken.trust, taken.report.request_id) == ("default", Trust.CHECK, "R1")


def test_what_cannot_be_read_is_answered_200_too() -> None:
    receiver = Receiver()
    assert receiver.post(body=b"junk") == (200, "Success")
    assert [type(one) for one in receiver.taken] == [Rejection]


@pytest.mark.parametrize(
    "path",
    [
        *(PATH[:-1], f"{PATH}/", f"/callbacks/nobody/{TOKEN}", "/callbacks/default/", "/callbacks", f"/{PATH}"),
        f"/callbacks/default//{TOKEN}",
    ],
)
def test_a_wrong_token_or_path_is_not_found(path: str) -> None:
    receiver = Receiver()
    assert receiver.post(path)[0] in (404, 308)
    assert receiver.taken == []
    assert Receiver(callback_token=None).post()[0] == 404


@pytest.mark.parametrize(
    ("proxies", "forwarded", "status"),
    [(0, "10.0.0.1", 404), (1, "10.0.0.1", 200), (1, "10.0.0.2", 404), (2, "10.0.0.1", 404)],
)
def test_only_listed_addresses_are_let_in(proxies: int, forwarded: str, status: int) -> None:
    receiver = Receiver(callback_allow="::ffff:10.0.0.1", trusted_proxies=proxies)
    assert receiver.post(X_Forwarded_For=forwarded)[0] == status
    assert len(receiver.taken) == (status == 200)


def test_64_kib_are_read_and_more_is_refused() -> None:
    receiver = Receiver()
    assert receiver.post(body=b"x" * 65_536)[0] == 200
    assert receiver.post(body=b"x" * 65_537)[0] == 413
    assert receiver.post(body=b"x" * 3_000_000)[0] == 413
    assert len(receiver.taken) == 1


class Stream(BytesIO):
    """Gives less than it was asked for, and breaks off after its first 20 bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 20:
            raise OSError("the connection is gone")
        return super().read(10)


def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    with pytest.raises(BodyBroken):
        read_whole(Stream(BODY), None)
    with pytest.raises(BodyBroken):
        read_whole(BytesIO(BODY), len(BODY) + 1)
    assert read_whole(BytesIO(BODY), len(BODY)) == read_whole(BytesIO(BODY), None) == BODY


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TimeoutError(), 503),
        (OperationalError("", {}, Exception("server closed")), 503),
        # A defect.
        (KeyError("oops"), 500),
    ],
)
def test_while_nothing_is_committed_the_answer_is_503(error: Exception, status: int) -> None:
    receiver = Receiver()
    receiver.error = error
    answer = receiver.post()
    assert answer[0] == status
    assert status == 500 or answer[1] == "not committed: send it again"


def test_the_log_line_names_the_route_and_never_the_path() -> None:
    receiver = Receiver()
    with capture_logs() as lines:
        receiver.post()
        receiver.post(f"/callbacks/default/{'w' * 24}")
        receiver.post("/elsewhere")
    assert [(line["action"], line["status"], line["account"]) for line in lines] == [
        ("http_request", 200, "default"),
        ("http_request", 404, None),
        ("http_request", 404, None),
    ]
    assert [line["route"] for line in lines] == ["/callbacks/<account>/<token>"] * 2 + ["none"]
    assert not [line for line in lines if TOKEN in str(line) or "w" * 24 in str(line) or "elsewhere" in str(line)]
