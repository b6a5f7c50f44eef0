"""What anyone who reaches the broker can do: remote control, events, and data at the keys of kombu."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery.events.event import get_exchange
from kombu import Connection, Exchange

from tests.faults.catalogue import fault
from tests.faults.errands import RECONNECTED, TOLD, wait_until_taken_in
from tests.faults.testbed import Testbed
from tests.support.processes import Program
from tests.support.waiting import eventually

_FOREIGN = "somebody-elses"
_OURS = ("reconciler.orders", "reconciler.ticks")
_Command = tuple[str, dict[str, Any]]
_COMMANDS: tuple[_Command, ...] = (
    ("rate_limit", {"task_name": "reconciler.enqueue_orders", "rate_limit": "1/h"}),
    ("rate_limit", {"task_name": "reconciler.reconcile", "rate_limit": "1/h"}),
    ("rate_limit", {"task_name": "reconciler.enqueue_orders", "rate_limit": "0"}),
    ("time_limit", {"task_name": "reconciler.enqueue_orders", "hard": 0.001, "soft": 0.001}),
    ("pool_shrink", {"n": 2}),
    ("pool_shrink", {"n": "many"}),
    ("pool_grow", {"n": 1}),
    ("pool_restart", {"reload": True}),
    ("autoscale", {"max": 0, "min": 0}),
    ("cancel_consumer", {"queue": "reconciler.orders"}),
    ("cancel_consumer", {"queue": "reconciler.orders.later"}),
    ("cancel_consumer", {"queue": "reconciler.ticks"}),
    ("add_consumer", {"queue": _FOREIGN}),
    ("add_consumer", {"queue": _FOREIGN, "exchange": _OURS[0], "routing_key": "#"}),
    ("election", {"id": "1", "topic": "none such", "action": {"method": "shutdown"}}),
    ("election", {}),
    ("revoke", {"task_id": ["1", None, {}], "terminate": True, "signal": "KILL"}),
    ("enable_events", {}),
    ("disable_events", {}),
    ("heartbeat", {}),
    ("none such", {"junk": ["x" * 10_000]}),
    ("ping", {"unexpected": 1}),
    ("shutdown", {}),
)
_ODD_CONTROL: tuple[bytes, ...] = (
    b"[1, 2]",
    b"5",
    b"null",
    b"\xff",
    b"{}",
    b'{"method": [], "destination": 5}',
    b"[" * 5000,
)
_ODD_EVENTS: tuple[object, ...] = (
    [{"type": "worker-heartbeat"}],
    {"type": "worker-elect", "id": "1", "clock": "a text", "hostname": "h", "pid": 1, "topic": "t", "action": {}},
    {"type": "worker-elect"},
    {"type": "worker-heartbeat", "hostname": "h", "clock": "text", "timestamp": "text"},
    {"type": "worker-heartbeat", "hostname": ["h"], "clock": 2**70},
    {"type": 5},
    "text",
    None,
)


@fault(32, "remote control and events from anybody at the broker", times=6, times_in_ci=2, seconds=200)
def fault_32_anybody_controls_the_worker(testbed: Testbed) -> None:
    # Started as in production, with mingle and gossip.
    worker = testbed.start(options=())
    with Connection(testbed.broker.direct_url) as connection:
        foreign = connection.SimpleQueue(_FOREIGN)
        # An earlier run on this broker has left its own there.
        foreign.clear()
        for number in range(3):
            foreign.put({"not": "ours", "number": number})
        attacks: list[tuple[str, Callable[[], None]]] = [
            (f"the command {name} {str(arguments)[:90]}", partial(_command, testbed, name, arguments))
            for name, arguments in _COMMANDS
        ]
        attacks += [
            (
                f"{body[:40]!r} for remote control",
                partial(_publish, connection, testbed.caller.control.mailbox.exchange, body),
            )
            for body in _ODD_CONTROL
        ]
        attacks += [
            (
                f"the event {str(event)[:90]}",
                partial(_publish, connection, get_exchange(connection), json.dumps(event).encode()),
            )
            for event in _ODD_EVENTS
        ]
        # In a brief run each makes a half of the attacks; there are several runs.
        attacks = testbed.rng.sample(attacks, k=len(attacks) // 2 if testbed.is_brief else len(attacks))
        done: list[str] = []
        for name, attack in attacks:
            attack()
            testbed.injected()
            if what := _harm(testbed, worker, name):
                done.append(f"{name} {what}")
            if what or worker.has_ended():
                worker.kill()
                worker = testbed.worker(options=())
        assert not done, f"{len(done)} attacks did harm: {'; '.join(done)}"
        assert foreign.qsize() == 3, f"of a foreign queue's messages {foreign.qsize()} of 3 are left"
    testbed.wait_until_settled(testbed.place(20))
    testbed.heal(bound=testbed.bound(queries=2))


def _command(testbed: Testbed, name: str, arguments: dict[str, Any]) -> None:
    testbed.caller.control.broadcast(name, arguments=arguments)


def _publish(connection: Connection, exchange: Exchange, body: bytes) -> None:
    with connection.Producer(exchange=exchange) as producer:
        producer.publish(
            body, routing_key="worker.heartbeat", content_type="application/json", content_encoding="utf-8"
        )


def _harm(testbed: Testbed, worker: Program, attack: str) -> str:
    """The harm of an attack to the worker, in words; empty where the worker answers and accepts orders."""
    try:
        eventually(lambda: _answers(testbed) or worker.has_ended(), "an answer to a ping", every=0.1)
        if not worker.has_ended():
            # A rate limit lets the first one through.
            for _ in range(2):
                wait_until_taken_in(testbed, attack)
    except AssertionError as error:
        # One that is shut down may answer once more before it ends.
        if not worker.has_ended():
            return f"has left it without answers or idle ({error})"
    # A worker that is shut down in order is started again by its supervisor.
    is_well = not worker.has_ended() or ("command shutdown" in attack and worker.wait() == 0)
    return "" if is_well else "has ended it"


def _answers(testbed: Testbed) -> list[Any]:
    return list(testbed.caller.control.ping(timeout=0.5))


_STRING, _LIST, _SET, _HASH = "string", "list", "set", "hash"
_WRONG_KEYS = {
    "reconciler.orders": (_STRING, _SET, _HASH),
    "reconciler.ticks": (_STRING, _SET, _HASH),
    "reconciler.orders\x06\x163": (_STRING, _SET),
    "unacked": (_SET, _STRING, _LIST),
    "unacked_index": (_STRING, _LIST, _SET),
    "unacked_mutex": (_LIST, _SET),
    "_kombu.binding.reconciler.orders": (_STRING, _LIST),
    "_kombu.binding.celery.pidbox": (_STRING, _LIST),
    "_kombu.binding.celeryev": (_STRING, _LIST),
    "celeryev": (_LIST, _STRING),
}


@fault(31, "keys of the wrong type in Redis", times=6, times_in_ci=2, brokers=("redis",), seconds=200)
def fault_31_keys_of_the_wrong_type_are_in_redis(testbed: Testbed) -> None:
    worker, beat = testbed.worker(options=()), testbed.beat()
    for key in testbed.rng.sample(sorted(_WRONG_KEYS), k=4):
        kind = testbed.rng.choice(_WRONG_KEYS[key])
        names = testbed.place(110)
        began = time.monotonic()
        with _wrong_key(testbed, key, kind):
            testbed.injected()
            sent = [one for one in (_sent(testbed) for _ in range(5)) if one]
            # In the database already: polled, whatever the broker does.
            testbed.wait_until_settled(names)
            testbed.rest(2.0)
        testbed.renew_caller()
        wait_until_taken_in(testbed, f"a {kind} at {key!r}")
        if not key.startswith("unacked"):
            # Where kombu cannot record a received message, it may lose it: a writer of its keys may take messages, too.
            testbed.sent.orders.update(sent)
            testbed.wait_for_rows(sent)
        missing = {*sent} - testbed.states().keys()
        testbed.observed(
            f"a {kind} at {key!r}: {len(sent)} of 5 messages were received by it, {len(missing)} of these lost"
        )
        testbed.observed(f"a {kind} at {key!r}: all was well {time.monotonic() - began:.1f} s after it came")
        for program in (worker, beat):
            assert not program.has_ended(), f"a {kind} at {key!r} has ended a program"
    testbed.heal(bound=testbed.bound(queries=2, extra=RECONNECTED))


def _sent(testbed: Testbed) -> str | None:
    """Send one order; the scenario checks whether it is kept."""
    testbed.rest(0.3)
    try:
        [name] = testbed.place(1, wait=False)
    except TOLD:
        testbed.renew_caller()
        return None
    testbed.sent.orders.discard(name)
    return name


@contextmanager
def _wrong_key(testbed: Testbed, key: str, kind: str) -> Iterator[None]:
    """Put another value at a key of kombu's. The key held no data of the project's."""
    assert testbed.broker.valkey is not None
    with testbed.broker.valkey.client() as client:
        if key == "reconciler.orders":
            eventually(lambda: not client.exists(key), "an empty queue")
        client.delete(key)
        if kind == _STRING:
            client.set(key, "somebody else's")
        elif kind == _LIST:
            client.lpush(key, "somebody else's")
        elif kind == _SET:
            client.sadd(key, "somebody else's")
        else:
            client.hset(key, "somebody", "else's")
        try:
            yield
        finally:
            # Remove it, as its owner would; bindings are restored when the worker connects, or are kept.
            client.delete(key)
            if key.startswith("_kombu.binding.reconciler"):
                queue = key.removeprefix("_kombu.binding.")
                client.sadd(key, "\x06\x16".join((queue, "", queue)))
