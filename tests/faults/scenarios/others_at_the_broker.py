"""What anyone who reaches the broker can do: data at the keys of kombu.

Remote control and events: `tests/integration/broker/test_remote_control.py`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.catalogue import fault
from tests.faults.errands import RECONNECTED, TOLD, wait_until_taken_in
from tests.faults.testbed import Testbed
from tests.support.waiting import eventually

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
