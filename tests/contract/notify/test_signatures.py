"""The libraries of receivers, from PyPI and from npm, verify what a webhook's request says of itself."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Library
from standardwebhooks import WebhookVerificationError

from tests.support import npm
from tests.support.receiver import Delivered, Receiver
from worker.adapters.clock import HostClock
from worker.adapters.notify.webhook import WebhookTransport
from worker.domain.records.notifications import Webhook

# Every value of a byte, padded and not: `+` and `/` are among the characters.
SECRET, OTHER = (
    "whsec_" + base64.b64encode(key).decode() for key in (bytes(range(224, 256)), bytes(range(0, 250, 10)))
)
BODY = '{"type":"order.succeeded","data":{"remark":"充值成功 ✓ \\" \\u0000","ori_amount":"2.94","attention":null}}'
EVENT = "msg_0123456789abcdef0123456789abcdef"
# The signing test of the libraries themselves.
KNOWN = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
KNOWN_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class Python:
    """The library of PyPI."""

    def verifies(self, body: str, headers: dict[str, str], secret: str) -> bool:
        """Whether it accepts a body with these headers, and reads it as the body is."""
        try:
            return bool(Library(secret).verify(body.encode(), headers) == json.loads(body))
        except WebhookVerificationError:
            return False

    def sign(self, event_id: str, seconds: int, body: str, secret: str) -> str:
        """The signature that it makes itself, at so many seconds since 1970."""
        return Library(secret).sign(event_id, datetime.fromtimestamp(seconds, UTC), body)


class Node:
    """The library of npm."""

    _PROGRAM = """
        const { Webhook } = require("standardwebhooks");
        const { id, seconds, body, headers, secret } = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const webhook = new Webhook(secret);
        let told;
        if (headers === null) told = webhook.sign(id, new Date(seconds * 1000), body);
        else try { told = JSON.stringify(webhook.verify(body, headers)) === JSON.stringify(JSON.parse(body)); }
        catch (error) { if (error.name !== "WebhookVerificationError") throw error; told = false; }
        console.log(JSON.stringify(told));
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def verifies(self, body: str, headers: dict[str, str], secret: str) -> bool:
        return bool(self._run(body=body, headers=headers, secret=secret))

    def sign(self, event_id: str, seconds: int, body: str, secret: str) -> str:
        return str(self._run(id=event_id, seconds=seconds, body=body, headers=None, secret=secret))

    def _run(self, **given: object) -> object:
        return json.loads(npm.run_node(self._PROGRAM, json.dumps(given), self._folder))


Verifier = Python | Node


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    folder = tmp_path_factory.mktemp("npm")
    npm.install(folder, "standardwebhooks@1.1.1")
    return Node(folder)


@pytest.fixture(params=["pypi", pytest.param("npm", marks=pytest.mark.slow)])
def library(request: pytest.FixtureRequest) -> Verifier:
    """Each of them."""
    found: Verifier = request.getfixturevalue("node") if request.param == "npm" else Python()
    return found


def request_signed_by(receiver: Receiver, *secrets: str) -> Delivered:
    """What comes at a receiver when the worker sends an event."""
    sender = WebhookTransport(Webhook(url=receiver.url, secrets=secrets), clock=HostClock(), hidden=())
    sender.deliver(EVENT, BODY, datetime.now(UTC))
    sender.close()
    (request,) = receiver.requests
    return request


def test_the_signature_of_the_known_example_is_the_librarys_own(library: Verifier) -> None:
    assert library.sign(*KNOWN) == KNOWN_SIGNATURE


def test_an_event_is_verified(receiver: Receiver, library: Verifier) -> None:
    request = request_signed_by(receiver, SECRET)
    assert library.verifies(request.body.decode(), request.headers, SECRET)


def test_while_a_secret_is_changed_the_old_and_the_new_one_verify(receiver: Receiver, library: Verifier) -> None:
    request = request_signed_by(receiver, SECRET, OTHER)
    assert all(library.verifies(request.body.decode(), request.headers, secret) for secret in (SECRET, OTHER))


FORGED: dict[str, tuple[str, dict[str, str], str]] = {
    "another body": (BODY.replace("2.94", "9.94"), {}, SECRET),
    "another id": (BODY, {"webhook-id": "msg_1"}, SECRET),
    "another time": (BODY, {"webhook-timestamp": "1614265330"}, SECRET),
    "another secret": (BODY, {}, OTHER),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_was_changed_on_the_way_is_refused(receiver: Receiver, library: Verifier, what: str) -> None:
    body, headers, secret = FORGED[what]
    request = request_signed_by(receiver, SECRET)
    assert request.body.decode() == BODY
    assert not library.verifies(body, request.headers | headers, secret)
