"""What befalls the broker: killed, emptied, filled up, black-holed, stopped."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt

import redis
from kombu.exceptions import OperationalError

from tests.faults.catalogue import fault
from tests.faults.house import House
from tests.faults.points import Point, Strike
from tests.support.proxy import Mode
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually

_SOCKET_TIMEOUT = 10.0
"""Seconds that the worker waits for an answer of Redis. Not scaled down, as the waits between two attempts are not."""
_ASKED_AGAIN_SECONDS = 60.0
_TAKEN_AGAIN_SECONDS = 60.0
_STOP_SECONDS = 60.0
_MOMENTS = (Point.GRANT_BEFORE_COMMIT, Point.GRANT_AFTER_COMMIT, Point.WRITE_BACK_BEGINS)
_FILLING = b"x" * 10_000
_ROOM = 500_000
"""Bytes that a tiny Redis has beside what it holds already."""
_TOLD = (OperationalError, redis.RedisError)
"""How kombu tells a sender that the broker has not taken a message."""


@fault(5, "Redis killed and restarted without persistence", brokers=("redis",))
def fault_05_redis_is_killed_and_comes_back_empty(house: House) -> None:
    valkey = _valkey(house)
    house.worker()
    house.beat()
    longest = 0.0
    for _ in range(3):
        house.renew_caller()
        names = _work(house)
        valkey.kill()
        house.injected()
        with _asked_without_a_broker(house, names) as began:
            assert not _takes(house), "a dead Redis took an order"
        house.rest(2.0)
        valkey.start()
        longest = max(longest, time.monotonic() - began)
    house.renew_caller()
    house.heal(bound=house.bound(queries=2, extra=_reconnect_seconds(longest)))


@fault(6, "FLUSHALL in mid-pass; then a tiny maxmemory", brokers=("redis",))
def fault_06_redis_is_flushed_and_filled_up(house: House) -> None:
    valkey = _valkey(house)
    house.worker()
    house.beat()
    for point in house.rng.sample(_MOMENTS, k=2):
        house.points.arm(point, Strike.WAIT)
        house.place(20)
        house.wait_until_struck(point)
        valkey.flush()
        house.injected()
        house.points.let_go(point)
        _taken_again(house, "FLUSHALL", time.monotonic())
    for policy in house.rng.sample(["noeviction", "allkeys-lru"], k=2):
        names = _work(house)
        with _tiny_memory(valkey, policy):
            house.injected()
            with _asked_without_a_broker(house, names):
                # One that evicts takes an order, and may throw it out again: nobody relies on it.
                assert not _takes(house) or policy != "noeviction", "a full Redis took an order"
        _taken_again(house, f"a tiny maxmemory with {policy}", time.monotonic())
    house.heal(bound=house.bound(queries=2, extra=_reconnect_seconds(house.scale.reservation)))


@fault(7, "broker sockets black-holed by a proxy, half open", times=3, seconds=200)
def fault_07_the_brokers_sockets_are_black_holes(house: House) -> None:
    house.worker()
    house.beat()
    proxy = house.broker.proxy
    # Those that are there carry nothing any more, and nobody is told; new ones work.
    names = _work(house)
    began = time.monotonic()
    proxy.strand()
    house.injected()
    with _asked_without_a_broker(house, names):
        pass
    taken = _taken_again(house, "all connections were half open", began)
    _expect(house, taken)
    # New ones carry nothing either, for a while.
    names = _work(house)
    proxy.set(Mode.HOLD)
    house.injected()
    with _asked_without_a_broker(house, names):
        house.rest(20.0, least=10.0)
    proxy.set(Mode.PASS)
    _taken_again(house, "the black hole was gone", time.monotonic())


@fault(8, "Redis stopped (SIGSTOP) for 60 s", times=3, brokers=("redis",), seconds=200)
def fault_08_redis_is_stopped(house: House) -> None:
    house.worker()
    house.beat()
    names = _work(house, 800)
    pid = _valkey(house).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        house.injected()
        with _asked_without_a_broker(house, names) as began:
            assert not _takes(house), "a stopped Redis took an order"
        time.sleep(max(0.0, began + _STOP_SECONDS - time.monotonic()))
    finally:
        os.kill(pid, signal.SIGCONT)
    house.renew_caller()
    house.heal(bound=house.bound(queries=2, extra=_SOCKET_TIMEOUT + _reconnect_seconds(_STOP_SECONDS)))


def _work(house: House, count: int = 300) -> list[str]:
    """Orders in the table, some of them settled by now: the fault meets a pass anywhere, and two queries are left."""
    names = house.place(count)
    left = house.rng.randrange(count - 180, count)

    def pending() -> int:
        states = house.states()
        return sum(states[name] == "pending" for name in names)

    eventually(lambda: pending() <= left, f"all but {left} of {count} orders settled")
    house.rest(0.5)
    return names


def _valkey(house: House) -> EmbeddedValkey:
    assert house.broker.valkey is not None
    return house.broker.valkey


def _reconnect_seconds(outage: float) -> float:
    """The longest wait until the worker's next attempt to connect, after an outage of so many seconds.

    Celery waits 2 s before the second attempt, and 2 s longer before each next one.
    """
    return 2 * (sqrt(outage) + 1)


@contextmanager
def _asked_without_a_broker(house: House, names: list[str]) -> Iterator[float]:
    """The broker is away: whatever else is tried meanwhile, orders that are in the table are asked about and settled.

    Yields when that began, on the monotonic clock.
    """
    began, seen = time.monotonic(), len(house.arrivals())
    states = house.states()
    assert any(states[name] == "pending" for name in names), "nothing is left to be asked about"
    house.wait_for_arrivals(seconds=_ASKED_AGAIN_SECONDS)
    house.observed(f"asked {time.monotonic() - began:.1f} s after the fault began")
    yield began
    house.wait_until_settled(names, seconds=_ASKED_AGAIN_SECONDS)
    count = len(house.arrivals()) - seen
    house.observed(f"{count} queries in {time.monotonic() - began:.1f} s without a broker")


def _takes(house: House) -> list[str]:
    """Send one order; returns it where the broker takes it. Where it does not, the sender is told.

    It does not count as sent: a broker may lose what it takes as long as it is not itself.
    """
    try:
        taken = house.place(1, wait=False)
    except _TOLD:
        return []
    house.sent.orders.difference_update(taken)
    return taken


def _expect(house: House, taken: list[str]) -> None:
    """The broker was well all the time, so what it took must come into the table.

    But for one message on Redis: it hands one out over the connection that it does not know to be dead.
    """
    lost = 1 if house.broker.kind == "redis" else 0
    eventually(
        lambda: len({*taken} - house.states().keys()) <= lost,
        f"the orders that {house.broker.kind} took",
        seconds=_TAKEN_AGAIN_SECONDS,
        every=0.2,
    )
    missing = {*taken} - house.states().keys()
    house.sent.orders.update({*taken} - missing)
    if missing:
        house.observed("Redis handed a message out over a dead connection")


def _taken_again(house: House, fault: str, since: float) -> list[str]:
    """Return once orders of a program that has lived through the fault come into the table again; all it has sent."""
    taken: list[str] = []

    def has_arrived() -> bool:
        house.rest(0.4, least=0.2)
        taken.extend(_takes(house))
        return not house.states().keys().isdisjoint(taken)

    rest = since + _TAKEN_AGAIN_SECONDS - time.monotonic()
    eventually(has_arrived, f"an order that is taken in again: {fault}", seconds=rest)
    house.observed(f"orders were taken in again {time.monotonic() - since:.1f} s after: {fault}")
    return taken


@contextmanager
def _tiny_memory(valkey: EmbeddedValkey, policy: str) -> Iterator[None]:
    """Redis, full to the brim with somebody else's data."""
    with valkey.client() as client:
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", _used(client) + _ROOM)
        try:
            _fill(client)
            if policy == "noeviction":
                # The smallest message is refused as well, whatever the buffers of its clients give back.
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
