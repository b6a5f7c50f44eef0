"""Webhooks against a receiver on loopback: what it gets, and what each of its answers means."""

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from standardwebhooks import Webhook as Verifier

from tests.support.clocks import SkippingClock
from tests.support.dead_address import DEAD_HOST, refusing_address, resolving_to
from tests.support.receiver import CERTIFICATE, Answering, Delivered, Receiver, accept
from tests.support.reconciling import ManualClock
from worker.adapters.clock import Clock, HostClock
from worker.adapters.notify.webhook import WebhookTransport
from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + 32 * "B"
EVENT = "msg_0123456789abcdef0123456789abcdef"
BODY = json.dumps({"type": "order.succeeded", "data": {"mobile": "13800138000", "remark": "成功"}}, ensure_ascii=False)
OK = DeliveryOutcome.ACCEPTED


SendersTo = Callable[..., WebhookTransport]


def send(sender: WebhookTransport) -> DeliveryResult:
    return sender.deliver(EVENT, BODY, datetime.now(UTC))


def raw(data: bytes) -> Callable[[Delivered, Answering], None]:
    """A reply of these bytes, after which the connection ends."""

    def reply(_: Delivered, answering: Answering) -> None:
        answering.send(data)
        answering.hang_up()

    return reply


@pytest.fixture
def sender_to() -> Iterator[SendersTo]:
    """Makes transports to a receiver."""
    with ExitStack() as stack:

        def make(
            url: str, *, secrets: tuple[str, ...] = (SECRET,), seconds: float = 60.0, clock: Clock | None = None
        ) -> WebhookTransport:
            target = Webhook(url=url, secrets=secrets, ca_file=str(CERTIFICATE) if url.startswith("https") else None)
            hidden = ("/hooks/a-secret-path?key=a-secret-key", *secrets)
            transport = WebhookTransport(target, clock=clock or HostClock(), hidden=hidden, exchange_seconds=seconds)
            stack.callback(transport.close)
            return transport

        yield make


def test_the_example_of_the_libraries_own_tests_is_signed_as_they_say(receiver: Receiver, sender_to: SendersTo) -> None:
    sender = sender_to(receiver.url, secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",))
    now = datetime.fromtimestamp(1614265330, ZoneInfo("Asia/Shanghai"))
    sender.deliver("msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', now)
    (request,) = receiver.requests
    assert request.headers["webhook-timestamp"] == "1614265330"
    assert request.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_gets_the_bytes_of_the_body_and_a_signature_that_verifies(
    receiver: Receiver, sender_to: SendersTo
) -> None:
    now = datetime.now(UTC)
    # Two secrets, while one is changed.
    result = sender_to(receiver.url, secrets=(SECRET, OTHER)).deliver(EVENT, BODY, now)
    assert (result.outcome, result.http_status, result.answer) == (OK, 200, "")
    (request,) = receiver.requests
    assert request.body == BODY.encode()
    assert request.path == "/hooks/a-secret-path?key=a-secret-key"
    assert request.headers["content-type"] == "application/json"
    assert request.event_id == EVENT
    assert request.headers["webhook-timestamp"] == str(math.floor(now.timestamp()))
    for secret in (SECRET, OTHER):
        assert Verifier(secret).verify(request.body, request.headers) == json.loads(BODY)


def test_a_connection_is_kept(receiver: Receiver, sender_to: SendersTo) -> None:
    sender = sender_to(receiver.url)
    assert [send(sender).outcome for _ in range(3)] == [OK] * 3
    assert receiver.connections == 1


def test_threads_share_no_connection(receiver: Receiver, sender_to: SendersTo) -> None:
    together = threading.Barrier(4, timeout=60)

    def wait_for_others(_: Delivered, answering: Answering) -> None:
        together.wait()
        answering.answer()

    receiver.reply = wait_for_others
    sender = sender_to(receiver.url)
    with ThreadPoolExecutor(4) as threads:
        assert {one.outcome for one in threads.map(send, [sender] * 4)} == {OK}
    assert receiver.connections == 4


def test_a_kept_connection_that_the_receiver_has_closed_is_replaced(receiver: Receiver, sender_to: SendersTo) -> None:
    sender = sender_to(receiver.url)
    send(sender)
    receiver.drop_connections()
    assert send(sender).outcome is OK
    assert receiver.connections == 2


def test_a_kept_connection_that_breaks_before_an_answer_is_tried_once_more_on_a_fresh_one(
    receiver: Receiver, sender_to: SendersTo
) -> None:
    sender = sender_to(receiver.url)
    send(sender)

    def break_old_connections(request: Delivered, answering: Answering) -> None:
        if request.connection == 1:
            answering.hang_up()
        else:
            answering.answer()

    receiver.reply = break_old_connections
    assert send(sender).outcome is OK
    assert [request.connection for request in receiver.requests] == [1, 1, 2]


def test_a_fresh_connection_that_breaks_is_not_tried_again(receiver: Receiver, sender_to: SendersTo) -> None:
    receiver.reply = lambda _, answering: answering.hang_up()
    result = send(sender_to(receiver.url))
    assert result.outcome is DeliveryOutcome.MALFORMED
    assert len(receiver.requests) == 1


def test_a_kept_connection_that_breaks_within_an_answer_is_not_tried_again(
    receiver: Receiver, sender_to: SendersTo
) -> None:
    sender = sender_to(receiver.url)
    send(sender)

    receiver.reply = raw(b"HTTP/1.1 200 OK\r\nContent-")
    assert send(sender).outcome is DeliveryOutcome.MALFORMED
    assert len(receiver.requests) == 2


def test_an_answer_that_came_before_the_whole_event_was_sent_accepts_nothing(sender_to: SendersTo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_at_once() -> None:
            taken, _ = listener.accept()
            with taken:
                taken.recv(64)
                taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer_at_once, daemon=True).start()
        # More than all buffers of a connection hold, so that the sending ends by the reset.
        sender = sender_to(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        result = sender.deliver(EVENT, BODY + 24_000_000 * " ", datetime.now(UTC))
    assert result.outcome is DeliveryOutcome.MALFORMED


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_a_success(receiver: Receiver, sender_to: SendersTo, status: int) -> None:
    receiver.reply = lambda _, answering: answering.answer(status)
    assert send(sender_to(receiver.url)).outcome is OK


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 500, 503])
def test_any_other_status_is_a_failure_and_a_redirect_is_not_followed(
    receiver: Receiver, sender_to: SendersTo, status: int
) -> None:
    receiver.reply = lambda _, answering: answering.answer(status, b"no", Location=receiver.url)
    result = send(sender_to(receiver.url))
    assert (result.outcome, result.http_status, result.answer) == (DeliveryOutcome.HTTP_ERROR, status, "no")
    assert len(receiver.requests) == 1


def test_the_wait_that_a_receiver_asks_for_is_read(receiver: Receiver, sender_to: SendersTo) -> None:
    receiver.reply = lambda _, answering: answering.answer(503, Retry_After="120")
    assert send(sender_to(receiver.url)).retry_after == 120.0


@pytest.mark.parametrize(
    "reply",
    [
        lambda _, answering: answering.hang(),
        lambda _, answering: (answering.send(b"HTTP/1.1 200 OK\r\nX: y\r\n"), answering.hang()),
        lambda _, answering: answering.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 6000, every=0.01),
    ],
    ids=["silence", "half of the headers", "headers byte by byte"],
)
def test_a_receiver_that_hangs_is_given_up_at_the_deadline(
    receiver: Receiver, sender_to: SendersTo, reply: Callable[[Delivered, Answering], None]
) -> None:
    clock = SkippingClock()
    sender = sender_to(receiver.url, seconds=40.0, clock=clock)
    # The connection is made before, as that could take longer than the 0.3 s that are left.
    assert send(sender).outcome is OK
    receiver.reply = reply
    clock.skip = 39.7
    started = time.monotonic()
    assert send(sender).outcome is DeliveryOutcome.TIMEOUT
    # No reply ends by itself before.
    assert 0.25 < time.monotonic() - started < 20
    assert receiver.connections == 1


class TickingClock(HostClock):
    """A second later at each look, however long the machine took."""

    seconds = 0.0

    def boot(self) -> float:
        self.seconds += 1.0
        return self.seconds


@pytest.mark.parametrize("status", [200, 404])
def test_complete_headers_decide_however_the_body_comes(receiver: Receiver, sender_to: SendersTo, status: int) -> None:
    def drip(_: Delivered, answering: Answering) -> None:
        answering.send(f"HTTP/1.1 {status} X\r\nContent-Length: 6000\r\n\r\n".encode())
        answering.drip(b"thanks" * 1000, every=0.01)

    receiver.reply = drip
    # It looks a few times for all that comes before the body, and once for each piece of the body.
    sender = sender_to(receiver.url, seconds=30.0, clock=TickingClock())
    result = send(sender)
    assert result.http_status == status
    assert result.outcome is (OK if status == 200 else DeliveryOutcome.HTTP_ERROR)
    assert (result.answer or "").startswith("thanks")
    # The rest of this body must not be read as the next answer.
    receiver.reply = accept
    assert send(sender).outcome is OK
    assert receiver.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b"x" * 20_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 300_000,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nxxxxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
    ],
    ids=["negative chunk", "long body", "not gzip", "cut short"],
)
def test_a_body_of_any_kind_never_decides(receiver: Receiver, sender_to: SendersTo, answer: bytes) -> None:
    receiver.reply = raw(answer)
    result = send(sender_to(receiver.url))
    assert result.outcome is OK
    assert len(result.answer or "") <= 500


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000],
    ids=["another protocol", "no status", "endless header"],
)
def test_an_answer_that_is_no_http_is_malformed(receiver: Receiver, sender_to: SendersTo, answer: bytes) -> None:
    receiver.reply = raw(answer)
    assert send(sender_to(receiver.url)).outcome is DeliveryOutcome.MALFORMED


def test_without_a_listener_the_receiver_is_unreachable(sender_to: SendersTo) -> None:
    with refusing_address() as (host, port):
        result = send(sender_to(f"http://{host}:{port}/a-secret"))
    assert result.outcome is DeliveryOutcome.UNREACHABLE
    assert result.answer == "no connection: ConnectionRefusedError (Connection refused)"


def test_a_name_that_cannot_be_one_is_unreachable(sender_to: SendersTo) -> None:
    result = send(sender_to(f"http://{'x' * 64}.example/"))
    assert result.outcome is DeliveryOutcome.UNREACHABLE


def test_an_event_is_delivered_to_the_second_address_where_the_first_speaks_no_tls(
    sender_to: SendersTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Receiver(tls=True) as receiver,
        socket.create_server((DEAD_HOST, 0)) as broken,
        ThreadPoolExecutor(1) as thread,
    ):

        def close_what_connects() -> None:
            broken.accept()[0].close()

        closed = thread.submit(close_what_connects)
        addresses = broken.getsockname(), ("127.0.0.1", urlsplit(receiver.url).port or 0)
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*addresses))
        assert send(sender_to("https://localhost/")).outcome is OK
        closed.result(60)
    assert receiver.connections == 1


def test_a_connection_ends_after_a_minute_however_busy_so_that_a_name_that_moved_is_followed(
    receiver: Receiver, sender_to: SendersTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(seconds=0.0)
    with Receiver() as moved:
        sender = sender_to("http://receiver.invalid/", clock=clock)
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(("127.0.0.1", urlsplit(receiver.url).port or 0)))
        send(sender)
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(("127.0.0.1", urlsplit(moved.url).port or 0)))
        for clock.seconds in (20.0, 40.0, 59.0, 60.0, 80.0):
            assert send(sender).outcome is OK
    assert (len(receiver.requests), len(moved.requests)) == (4, 2)
    assert (receiver.connections, moved.connections) == (1, 1)


def test_over_tls_the_certificate_is_checked_against_the_file_of_authorities(sender_to: SendersTo) -> None:
    with Receiver(tls=True) as receiver:
        sender = sender_to(receiver.url)
        assert [send(sender).outcome for _ in range(2)] == [OK, OK]
        assert receiver.connections == 1
        stranger = WebhookTransport(Webhook(url=receiver.url, secrets=(SECRET,)), clock=HostClock(), hidden=())
        result = send(stranger)
        assert result.outcome is DeliveryOutcome.UNREACHABLE
        assert "self-signed certificate" in (result.answer or "")


def test_what_an_answer_echoes_of_secrets_and_phones_is_masked(receiver: Receiver, sender_to: SendersTo) -> None:
    def echo(request: Delivered, answering: Answering) -> None:
        words = [request.path, SECRET, request.headers["webhook-signature"], request.body.decode(), "x" * 600]
        answering.answer(400, "\n".join(words).encode())

    receiver.reply = echo
    answer = send(sender_to(receiver.url)).answer or ""
    assert len(answer) == 500
    assert "成功" in answer
    signature = receiver.requests[0].headers["webhook-signature"]
    for hidden in ("a-secret-path", SECRET, SECRET[6:], "13800138000", signature):
        assert hidden not in answer


def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, sender_to: SendersTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(sender_to(receiver.url)).outcome is OK
