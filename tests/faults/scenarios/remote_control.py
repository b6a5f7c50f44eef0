"""Attacks on a worker by remote control and by events, by anyone who reaches the broker."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.events.event import get_exchange
from kombu import Connection, Exchange

from tests.faults.catalogue import fault
from tests.faults.taking_in import wait_until_taken_in
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
        eventually(lambda: _answers(testbed) or worker.has_ended(), "an answer to a ping", seconds=10, every=0.1)
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
