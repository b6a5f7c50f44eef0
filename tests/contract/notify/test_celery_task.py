"""Notifications as messages of Celery, on real brokers."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from threading import Barrier

import pytest
from kombu import Connection, Message, Queue

from tests.support.clocks import SkippingClock
from tests.support.dead_address import refusing_address
from tests.support.proxy import through_proxy
from tests.support.servers import EmbeddedValkey
from worker.adapters.clock import Clock, HostClock
from worker.adapters.notify.celery_task import CeleryTransport
from worker.domain.records.notifications import CeleryTask, DeliveryOutcome

EVENT = "msg_0123456789abcdef0123456789abcdef"
EVENT_BODY = {"type": "order.succeeded", "data": {"mobile": "13800138000", "remark": "成功", "version": 7}}
BODY = json.dumps(EVENT_BODY, ensure_ascii=False)
OK = DeliveryOutcome.ACCEPTED
QUEUE = "billing.tests.notifications"
TASK = "billing.order_changed"

Transports = Callable[..., CeleryTransport]


@pytest.fixture
def transport_to() -> Iterator[Transports]:
    """Makes transports to a broker."""
    with ExitStack() as stack:

        def make(
            url: str, *, queue: str = QUEUE, seconds: float = 60.0, step: float = 30.0, clock: Clock | None = None
        ) -> CeleryTransport:
            transport = CeleryTransport(
                CeleryTask(task=TASK, queue=queue),
                broker_url=url,
                clock=clock or HostClock(),
                hidden=(),
                exchange_seconds=seconds,
                step_seconds=step,
            )
            stack.callback(transport.close)
            return transport

        yield make


@pytest.fixture
def connection(broker_url: str) -> Iterator[Connection]:
    """The billing system's own, which declares its queue."""
    with Connection(broker_url) as connection, connection.channel() as channel:
        queue = Queue(QUEUE, channel=channel)
        queue.declare()
        queue.purge()
        yield connection
        queue.delete()


def standard_port(broker_url: str) -> int:
    return 6379 if broker_url.startswith("redis") else 5672


def received(connection: Connection) -> list[Message]:
    with connection.channel() as channel:
        queue = Queue(QUEUE, channel=channel)
        messages = []
        while (message := queue.get(accept=["json"])) is not None:
            message.ack()
            messages.append(message)
        return messages


def test_a_message_is_one_of_protocol_2_that_shows_no_phone(
    broker_url: str, connection: Connection, transport_to: Transports
) -> None:
    assert transport_to(broker_url).deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK
    (message,) = received(connection)
    args, kwargs, follow_ups = message.payload
    assert (args, kwargs) == ([], {"event": EVENT_BODY})
    assert not any(follow_ups.values())
    assert message.headers["id"] == message.headers["root_id"] == message.properties["correlation_id"] == EVENT
    assert message.headers["task"] == TASK
    assert message.headers["ignore_result"] is True
    assert message.headers["argsrepr"] == message.headers["kwargsrepr"] == ""
    assert message.properties["delivery_mode"] == 2
    assert "13800138000" not in str(message.headers)


def test_a_connection_is_kept_and_closed(broker_url: str, connection: Connection, transport_to: Transports) -> None:
    with through_proxy(broker_url, standard_port(broker_url)) as (proxy, url):
        transport = transport_to(url)
        assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK
        first = proxy.accepted
        assert {transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome for _ in range(49)} == {OK}
        assert proxy.accepted == first > 0
        assert len(received(connection)) == 50
        transport.close()
        assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK


@pytest.mark.brokers("rabbitmq")
def test_on_rabbitmq_a_queue_that_is_missing_shows(broker_url: str, transport_to: Transports) -> None:
    transport = transport_to(broker_url, queue="billing.tests.missing")
    for _ in range(2):
        result = transport.deliver(EVENT, BODY, datetime.now(UTC))
        assert result.outcome is DeliveryOutcome.REFUSED
        assert result.answer == "the broker has no queue billing.tests.missing: its worker declares it"
    with Connection(broker_url) as connection, connection.channel() as channel, pytest.raises(Exception, match="404"):
        channel.queue_declare("billing.tests.missing", passive=True)


@pytest.mark.brokers("rabbitmq")
def test_on_rabbitmq_a_full_queue_that_rejects_is_seen(broker_url: str, transport_to: Transports) -> None:
    name = "billing.tests.full"
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with Connection(broker_url) as connection, connection.channel() as channel:
        queue = Queue(name, channel=channel, queue_arguments=limits)
        queue.declare()
        try:
            transport = transport_to(broker_url, queue=name)
            outcomes = [transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome for _ in range(4)]
        finally:
            queue.delete()
    assert outcomes[0] is OK
    assert outcomes[-1] is DeliveryOutcome.REFUSED


@pytest.mark.brokers("rabbitmq")
def test_a_wrong_password_is_no_connection(broker_url: str, transport_to: Transports) -> None:
    url = broker_url.replace("guest:guest@", "guest:not-it-at-all@")
    result = transport_to(url).deliver(EVENT, BODY, datetime.now(UTC))
    assert result.outcome is DeliveryOutcome.UNREACHABLE
    assert "not-it-at-all" not in (result.answer or "")


def test_a_redis_that_takes_no_message_is_seen(own_valkey: EmbeddedValkey, transport_to: Transports) -> None:
    transport = transport_to(own_valkey.url)
    with own_valkey.client() as client:
        client.set(QUEUE, "no list")
    assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is DeliveryOutcome.REFUSED
    with own_valkey.client() as client:
        client.delete(QUEUE)
    assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK


def test_a_broker_that_goes_away_between_two_events_is_unreachable(
    own_valkey: EmbeddedValkey, transport_to: Transports
) -> None:
    transport = transport_to(own_valkey.url)
    assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK
    own_valkey.kill()
    for _ in range(2):
        assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is DeliveryOutcome.UNREACHABLE


def test_a_connection_that_is_half_open_is_given_up_and_replaced(
    broker_url: str, connection: Connection, transport_to: Transports
) -> None:
    with through_proxy(broker_url, standard_port(broker_url)) as (proxy, url):
        clock = SkippingClock()
        transport = transport_to(url, clock=clock)
        assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK
        proxy.strand()
        # Half a second is left for this one, and a minute for those that have to succeed.
        clock.skip = 59.5
        started = time.monotonic()
        outcome = transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome
        assert time.monotonic() - started < 20
        assert outcome in (DeliveryOutcome.UNREACHABLE, DeliveryOutcome.TIMEOUT)
        assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK


def test_after_a_broken_connection_none_of_the_kept_ones_is_used(
    broker_url: str, connection: Connection, transport_to: Transports
) -> None:
    with through_proxy(broker_url, standard_port(broker_url)) as (proxy, url):
        transport = transport_to(url)
        with ThreadPoolExecutor(4) as senders:
            together = Barrier(4)

            def deliver(_: int) -> DeliveryOutcome:
                together.wait()
                return transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome

            assert set(senders.map(deliver, range(4))) == {OK}
        proxy.cut()
        # kombu connects to Redis once more by itself.
        first = transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome
        assert first in (OK, DeliveryOutcome.UNREACHABLE)
        assert {transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome for _ in range(4)} == {OK}


@pytest.mark.parametrize("scheme", ["redis://", "amqp://guest:guest@"])
def test_a_broker_that_keeps_silent_is_given_up(transport_to: Transports, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = transport_to(f"{scheme}127.0.0.1:{server.getsockname()[1]}", step=0.2)
        # By the step: the deadline would say TIMEOUT.
        assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is DeliveryOutcome.UNREACHABLE


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [("redis://", b"+"), ("amqp://guest:guest@", b"\1\0\0\0\0\1\0")],
    ids=["a long line of Redis", "a long frame of AMQP"],
)
def test_a_broker_that_answers_byte_by_byte_is_given_up_at_the_deadline(
    transport_to: Transports, scheme: str, answer: bytes
) -> None:
    given_up = threading.Event()

    def drip(server: socket.socket) -> None:
        line, _ = server.accept()
        with line, suppress(OSError):
            line.recv(1)
            line.sendall(answer)
            for _ in range(10_000):
                line.sendall(b"x")
                if given_up.wait(0.05):
                    return

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        server.settimeout(60)
        thread.submit(drip, server)
        transport = transport_to(f"{scheme}127.0.0.1:{server.getsockname()[1]}", seconds=0.4)
        result = transport.deliver(EVENT, BODY, datetime.now(UTC))
        given_up.set()
    assert (result.outcome, result.answer) == (DeliveryOutcome.TIMEOUT, "the broker took longer than 0.4 s")


def test_of_several_brokers_the_next_one_is_tried(own_valkey: EmbeddedValkey, transport_to: Transports) -> None:
    with refusing_address() as (host, gone):
        transport = transport_to(f"redis://{host}:{gone}/0;{own_valkey.url}")
        assert transport.deliver(EVENT, BODY, datetime.now(UTC)).outcome is OK
