"""Faults of the broker: killed, emptied, filled up, black-holed, stopped."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt

import redis

from tests.faults.catalogue import fault
from tests.faults.errands import TOLD
from tests.faults.points import Point
from tests.faults.testbed import Testbed
from tests.support.proxy import Mode
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually

_SOCKET_TIMEOUT = 10.0
"""Seconds that the worker waits for an answer of Redis. Not scaled down, as the waits between two attempts are not."""
_QUERIED_AGAIN_SECONDS = 60.0
_TAKEN_AGAIN_SECONDS = 60.0
_MOMENTS = (Point.GRANT_BEFORE_COMMIT, Point.GRANT_AFTER_COMMIT, Point.WRITE_BACK_BEGINS)
_FILLING = b"x" * 10_000
_ROOM = 500_000
"""Bytes that a tiny Redis may hold beyond its present data."""


@fault(5, "Redis killed and restarted without persistence", brokers=("redis",))
def fault_05_redis_is_killed_and_comes_back_empty(testbed: Testbed) -> None:
    valkey = _valkey(testbed)
    testbed.start()
    longest = 0.0
    for _ in range(3):
        testbed.renew_caller()
        names = _work(testbed)
        valkey.kill()
        testbed.injected()
        with _queried_without_a_broker(testbed, names) as began:
            assert not _takes(testbed), "a dead Redis accepted an order"
        testbed.rest(2.0)
        valkey.start()
        longest = max(longest, time.monotonic() - began)
    testbed.renew_caller()
    testbed.heal(bound=testbed.bound(queries=2, extra=_reconnect_seconds(longest)))


@fault(6, "FLUSHALL in mid-pass; then a tiny maxmemory", brokers=("redis",))
def fault_06_redis_is_flushed_and_filled_up(testbed: Testbed) -> None:
    valkey = _valkey(testbed)
    testbed.start()
    for point in testbed.rng.sample(_MOMENTS, k=2):
        names = testbed.hold(point, 20)
        valkey.flush()
        testbed.injected()
        testbed.points.let_go(point)
        _taken_again(testbed, "FLUSHALL", time.monotonic())
        # Lost where the pass was one about earlier orders: on SQLite it keeps these from being stored.
        testbed.enqueue(names)
    for policy in testbed.rng.sample(["noeviction", "allkeys-lru"], k=2):
        # Two queries may be made until Redis is full.
        names = _work(testbed, 500)
        with _tiny_memory(valkey, policy):
            testbed.injected()
            with _queried_without_a_broker(testbed, names):
                # A Redis that evicts accepts an order and may evict it again: nothing depends on it.
                assert not _takes(testbed) or policy != "noeviction", "a full Redis accepted an order"
        _taken_again(testbed, f"a tiny maxmemory with {policy}", time.monotonic())
    testbed.heal(bound=testbed.bound(queries=2, extra=_reconnect_seconds(testbed.scale.reservation)))


@fault(7, "broker sockets black-holed by a proxy, half open", times=3, seconds=200)
def fault_07_the_brokers_sockets_are_black_holes(testbed: Testbed) -> None:
    testbed.start()
    proxy = testbed.broker.proxy
    # Open connections carry nothing any more, and are not closed; new ones work.
    names = _work(testbed)
    began = time.monotonic()
    proxy.strand()
    testbed.injected()
    with _queried_without_a_broker(testbed, names):
        pass
    taken = _taken_again(testbed, "all connections were half open", began)
    _expect(testbed, taken)
    # New connections carry nothing either, for a while.
    names = _work(testbed)
    proxy.set(Mode.HOLD)
    testbed.injected()
    with _queried_without_a_broker(testbed, names):
        testbed.rest(20.0, least=10.0)
    proxy.set(Mode.PASS)
    _taken_again(testbed, "the black hole was gone", time.monotonic())


@fault(8, "Redis stopped (SIGSTOP) for up to 60 s", times=3, brokers=("redis",), seconds=200)
def fault_08_redis_is_stopped(testbed: Testbed) -> None:
    testbed.start()
    names = _work(testbed, 800)
    # Longer than two answers are waited for.
    stopped = 25.0 if testbed.is_brief else 60.0
    pid = _valkey(testbed).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        testbed.injected()
        with _queried_without_a_broker(testbed, names) as began:
            assert not _takes(testbed), "a stopped Redis accepted an order"
        time.sleep(max(0.0, began + stopped - time.monotonic()))
    finally:
        os.kill(pid, signal.SIGCONT)
    testbed.renew_caller()
    testbed.heal(bound=testbed.bound(queries=2, extra=_SOCKET_TIMEOUT + _reconnect_seconds(stopped)))


def _work(testbed: Testbed, count: int = 400) -> list[str]:
    """Orders in the table, some of them settled: the fault meets a pass at any moment, and queries are left."""
    names = testbed.place(count)
    left = testbed.rng.randrange(count - 180, count)

    def pending() -> int:
        states = testbed.states()
        return sum(states[name] == "pending" for name in names)

    eventually(lambda: pending() <= left, f"all but {left} of {count} orders settled", seconds=90)
    testbed.rest(0.5)
    return names


def _valkey(testbed: Testbed) -> EmbeddedValkey:
    assert testbed.broker.valkey is not None
    return testbed.broker.valkey


def _reconnect_seconds(outage: float) -> float:
    """The longest wait until the worker's next attempt to connect, after an outage of so many seconds.

    Celery waits 2 s before the second attempt, and 2 s longer before each next one.
    """
    return 2 * (sqrt(outage) + 1)


@contextmanager
def _queried_without_a_broker(testbed: Testbed, names: list[str]) -> Iterator[float]:
    """The broker is away: during the context, orders that are in the table are polled and settled.

    Yields when that began, on the monotonic clock.
    """
    began, arrivals = time.monotonic(), testbed.arrivals()
    # An order that is pending and was polled may be of the query that is under way, after which no other has to come.
    assert {*names}.difference(*(one["ids"] for one in arrivals)), "nothing is left to be polled"
    seen = len(arrivals)
    testbed.wait_for_arrivals(since=seen, seconds=_QUERIED_AGAIN_SECONDS)
    testbed.observed(f"queried {time.monotonic() - began:.1f} s after the fault began")
    yield began
    testbed.wait_until_settled(names, seconds=_QUERIED_AGAIN_SECONDS)
    count = len(testbed.arrivals()) - seen
    testbed.observed(f"{count} queries in {time.monotonic() - began:.1f} s without a broker")


def _takes(testbed: Testbed) -> list[str]:
    """Send one order; returns it where the broker accepts it. Where it does not, the sender gets an error.

    It does not count as sent: a faulty broker may lose what it accepts.
    """
    try:
        taken = testbed.place(1, wait=False)
    except TOLD:
        return []
    testbed.sent.orders.difference_update(taken)
    return taken


def _expect(testbed: Testbed, taken: list[str]) -> None:
    """The broker was well all the time, so the orders that it accepted must come into the table.

    On Redis one may be missing: it delivers one message over a connection that it does not know to be dead.
    """
    lost = 1 if testbed.broker.kind == "redis" else 0
    eventually(
        lambda: len({*taken} - testbed.states().keys()) <= lost,
        f"the orders that {testbed.broker.kind} accepted",
        seconds=_TAKEN_AGAIN_SECONDS,
        every=0.2,
    )
    missing = {*taken} - testbed.states().keys()
    testbed.sent.orders.update({*taken} - missing)
    if missing:
        testbed.observed("Redis delivered a message over a dead connection")


def _taken_again(testbed: Testbed, fault: str, since: float) -> list[str]:
    """Wait until orders of a program that ran through the fault come into the table; returns all that it sent."""
    taken: list[str] = []

    def has_arrived() -> bool:
        testbed.rest(0.4, least=0.2)
        taken.extend(_takes(testbed))
        return not testbed.states().keys().isdisjoint(taken)

    rest = since + _TAKEN_AGAIN_SECONDS - time.monotonic()
    eventually(has_arrived, f"an order that is enqueued again: {fault}", seconds=rest)
    testbed.observed(f"orders were enqueued again {time.monotonic() - since:.1f} s after: {fault}")
    return taken


@contextmanager
def _tiny_memory(valkey: EmbeddedValkey, policy: str) -> Iterator[None]:
    """Fill Redis with the data of another program."""
    with valkey.client() as client:
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", _used(client) + _ROOM)
        try:
            _fill(client)
            if policy == "noeviction":
                # The smallest message is refused as well, whatever memory the buffers of its clients free.
                client.config_set("maxmemory", _used(client) - _ROOM // 2)
            yield
        finally:
            client.config_set("maxmemory", 0)
            for key in client.scan_iter("somebody-elses-*", count=1000):
                client.delete(key)


def _fill(client: redis.Redis) -> None:
    for number in range(10 * _ROOM // len(_FILLING)):
        try:
            client.set(f"somebody-elses-{number}", _FILLING)
        except redis.exceptions.OutOfMemoryError:
            return
    assert int(client.info("stats")["evicted_keys"]) > 0, "Redis was not filled up"


def _used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])
