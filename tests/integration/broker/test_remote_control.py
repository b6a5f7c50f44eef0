"""Remote control and events: which commands a worker obeys, how it answers the others, and that none stops it."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Producer

from tests.support.forging import ORDERS, Target, envelope
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

REFUSED: dict[str, dict[str, Any]] = {
    "rate_limit": {"task_name": "reconciler.enqueue_order", "rate_limit": "1/h"},
    "time_limit": {"task_name": "reconciler.enqueue_order", "soft": 0.001, "hard": 0.001},
    "pool_shrink": {"n": 2},
    "pool_grow": {"n": 50},
    "pool_restart": {"modules": [], "reload": True},
    "autoscale": {"max": 0, "min": 0},
    "cancel_consumer": {"queue": ORDERS},
    "add_consumer": {"queue": "others"},
    "election": {"id": "x", "topic": "task", "action": {"task": "reconciler.reconcile"}},
    "revoke": {"task_id": ["x"], "terminate": True, "signal": "KILL"},
    "terminate": {"signal": "KILL", "task_id": ["x"]},
    "revoke_by_stamped_headers": {"headers": {"id": "x"}, "terminate": True},
    "hello": {"from_node": "other@tests", "revoked": ["x"]},
    "objgraph": {},
    "memsample": {},
    "memdump": {},
    "no_such": {},
}
LOOKS = ["active", "active_queues", "clock", "conf", "ping", "registered", "report", "reserved", "revoked", "scheduled"]


@pytest.fixture(scope="module")
def log_level() -> str:
    return "DEBUG"


def node_of(target: Target) -> str:
    ready = next(line for line in target.worker.output.splitlines() if " ready." in line)
    return next(word for word in ready.split() if word.endswith("@tests"))


def command(target: Target, name: str, arguments: Mapping[str, Any]) -> Any:
    """The worker's answer to a command; other workers of a shared broker do not receive it."""
    node = node_of(target)
    with Celery(broker=target.broker, set_as_current=False) as app:
        options = {"destination": [node], "reply": True, "timeout": 60, "limit": 1}
        answers = app.control.broadcast(name, arguments=dict(arguments), **options)
    assert answers is not None
    assert len(answers) == 1, f"{name}: {answers}"
    return answers[0][node]


def refuse(target: Target, name: str) -> None:
    logged = target.worker.output.count("command_refused")
    answer = command(target, name, REFUSED[name])
    assert answer["error"].startswith(f"{name} is refused: this worker has no use for it; accepted: active, ")
    assert target.worker.output.count("command_refused") == logged + 1


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_that_the_worker_has_no_use_for_is_refused_and_answered(target: Target, name: str) -> None:
    children = target.worker.children()
    refuse(target, name)
    target.check_still_works()
    assert target.worker.children() == children


@pytest.mark.parametrize("name", LOOKS)
def test_commands_that_inspect_the_worker_are_answered(target: Target, name: str) -> None:
    answer = command(target, name, {})
    assert "error" not in answer


UNREADABLE: list[Any] = [
    [],
    5,
    {},
    {"method": []},
    {"method": "\ud800"},
    {"method": "ping", "reply_to": 5},
    {"method": "ping", "reply_to": {"exchange": ORDERS, "routing_key": ORDERS}},
    {"method": "ping", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "\ud800"}},
    {"method": "ping", "arguments": [1]},
    {"method": "ping", "destination": 5},
    {"method": "ping", "pattern": "(.+)+$", "matcher": "pcre"},
    {"method": "ping", "pattern": "*", "matcher": ["glob"]},
]


@contextmanager
def broadcasting(target: Target, exchange: Exchange) -> Iterator[Producer]:
    with Connection(target.broker) as connection, connection.channel() as channel:
        yield Producer(channel, exchange)


def survive_what_is_no_command(target: Target) -> None:
    logged = target.worker.output.count("command_refused")
    with broadcasting(target, Exchange("celery.pidbox", "fanout", durable=False)) as producer:
        for body in UNREADABLE:
            producer.publish(body, serializer="json", headers={"clock": "yesterday", "ticket": 5})
        for clock in ("yesterday", [1], 10**4299, -1, 1.5):
            producer.publish(
                {"method": "ping", "ticket": {}}, serializer="json", headers={"clock": as_header(target, clock)}
            )
    target.worker.wait_for("command_refused", times=logged + len(UNREADABLE))
    assert command(target, "ping", {}) == {"ok": "pong"}
    target.check_still_works()
    assert "Control command error" not in target.worker.output


def as_header(target: Target, value: Any) -> Any:
    # AMQP has no such numbers.
    return value if target.broker.startswith("redis") or not isinstance(value, int) else 2**62


def test_what_is_no_command_is_refused(target: Target) -> None:
    survive_what_is_no_command(target)


# -------------------------------------------------------------------------------------------------- gossip and mingle

FORGED_EVENTS: list[tuple[str, Any]] = [
    ("worker.heartbeat", []),
    ("worker.heartbeat", 5),
    ("worker.heartbeat", {"type": "worker-heartbeat", "hostname": [], "clock": "x"}),
    ("worker.elect", {"type": "worker-elect", "id": "x", "clock": "x", "hostname": "x", "pid": 1, "topic": "task"}),
    *(
        ("worker.elect", {"id": "y", "clock": clock, "hostname": "x", "pid": 1, "topic": "t", "action": {}, "cver": 1})
        for clock in (1, "text")
    ),
    ("worker.elect.ack", []),
    ("worker.online", {"hostname": {}}),
]


def survive_forged_events(target: Target) -> None:
    # As Celery declares it.
    kind = "fanout" if target.broker.startswith("redis") else "topic"
    with broadcasting(target, Exchange("celeryev", kind)) as producer:
        for routing_key, body in FORGED_EVENTS:
            for _ in range(2):
                producer.publish(body, serializer="json", routing_key=routing_key, headers={"hostname": "x"})
    # The worker would have read what was sent before this.
    assert command(target, "ping", {}) == {"ok": "pong"}
    target.check_still_works()
    assert "mingle" not in target.worker.output


def test_events_of_others_are_not_read(target: Target) -> None:
    survive_forged_events(target)


def receive_events(target: Target) -> None:
    """Task events are enabled as by Flower, and received together with the worker's heartbeat."""
    assert "ok" in command(target, "enable_events", {})
    wanted = {"worker-heartbeat", "task-received", "task-succeeded"}
    node = node_of(target)

    def on_event(event: dict[str, Any]) -> None:
        if event.get("hostname") != node:
            return
        wanted.discard(event["type"])
        if event["type"] == "worker-heartbeat":
            target.send()
        receiver.should_stop = not wanted

    with Celery(broker=target.broker, set_as_current=False) as app, app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": on_event})
        # A heartbeat comes every two seconds.
        receiver.capture(limit=None, timeout=100, wakeup=False)
    assert not wanted
    assert "ok" in command(target, "disable_events", {})


def test_events_are_sent(target: Target) -> None:
    receive_events(target)


@pytest.mark.databases("sqlite")
@pytest.mark.brokers("rabbitmq")
def test_the_same_holds_on_rabbitmq(rabbit_target: Target) -> None:
    for name in ("rate_limit", "cancel_consumer", "add_consumer", "election", "pool_shrink"):
        refuse(rabbit_target, name)
    survive_what_is_no_command(rabbit_target)
    survive_forged_events(rabbit_target)
    receive_events(rabbit_target)


# ------------------------------------------------------------------------------------------------------ delivery tags


def test_a_delivery_tag_that_is_half_a_character_is_no_message(target: Target, valkey: EmbeddedValkey) -> None:
    dropped = target.worker.output.count("message_dropped")
    order = base64.b64encode(b'[[{"request_id": "tagged"}], {}, {}]').decode()
    forged: list[bytes] = []
    for tag in ("\ud800", "x" * 100_000, "line\nend", "\x1b[2J"):
        headers = {"task": "reconciler.enqueue_order", "id": "tagged", "retries": 0}
        forged.append(json.dumps(envelope(order, headers=headers, delivery_tag=tag)).encode())
    for name in ("exchange", "routing_key"):
        info = {"exchange": ORDERS, "routing_key": ORDERS, name: "\ud800"}
        forged.append(json.dumps(envelope(order, delivery_info=info)).encode())
    with valkey.client() as client:
        client.lpush(ORDERS, *forged)
    target.worker.wait_for("message_dropped", times=dropped + len(forged))
    target.check_still_works()
    assert "tagged" not in target.orders()


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"\xf0\x9f\x98"])
def test_raw_bytes_in_a_delivery_tag_delay_no_other(target: Target, valkey: EmbeddedValkey, raw: bytes) -> None:
    names = [f"beside-{raw.hex()}-{number}" for number in range(80)]
    headers = {"task": "reconciler.enqueue_order", "id": "x", "retries": 0}
    items = []
    for name in names:
        body = base64.b64encode(json.dumps([[{"request_id": name}], {}, {}]).encode()).decode()
        items.append(json.dumps(envelope(body, headers={**headers, "id": name})).encode())
    body = base64.b64encode(b'[[{"request_id": "raw"}], {}, {}]').decode()
    forged = json.dumps(envelope(body, headers=headers, delivery_tag="TAG")).encode().replace(b"TAG", raw)
    items[40:40] = [forged]
    with valkey.client() as client:
        client.lpush(ORDERS, *items)
        # A delayed order would come after the visibility timeout of 300 s.
        target.wait_for(*names)
        eventually(
            lambda: client.hlen("unacked") + client.zcard("unacked_index") == 0, "no message that is redelivered"
        )
    target.check_still_works()
