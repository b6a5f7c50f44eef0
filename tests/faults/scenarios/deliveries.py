"""Killed at every step of a delivery: the sender, the receiver, the database, the broker of a task for others."""

import time
from collections.abc import Callable

from kombu.exceptions import OperationalError

from tests.faults.catalogue import SERVERS, fault
from tests.faults.endpoints import repeats, wait_until_told_after_waits
from tests.faults.notification_recorder import HANG, Answer
from tests.faults.points import Point, Strike
from tests.faults.recorder import NotificationConsumer, Recorder
from tests.faults.testbed import UNHURRIED, Testbed
from tests.support.processes import Program
from tests.support.proxy import Mode, Proxy, through_proxy
from tests.support.waiting import eventually, last_seen

_POINTS = (
    Point.CLAIM_BEFORE_COMMIT,
    Point.CLAIM_AFTER_COMMIT,
    Point.NOTE_BEFORE_COMMIT,
    Point.NOTE_AFTER_COMMIT,
)
_LEASE_SECONDS = 20.0
"""Not scaled: until then no process sends what a killed one had claimed."""
_LOT_SECONDS = 10.0
"""In so long the orders of a lot are settled, and their notifications sent."""
_MOST_LOTS = 12


@fault(
    34, "kill -9 of the sender and of the receiver at every step of a delivery", times=6, times_in_ci=2, seconds=90.0
)
def fault_34_sender_and_receiver_are_killed_at_every_step(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    worker = testbed.start()
    steps: list[Callable[[], object]] = [
        *(lambda point=point: _kill_the_sender_at(testbed, point) for point in _POINTS),
        lambda: _kill_the_sender_in_mid_exchange(testbed, recorder, worker),
        lambda: _kill_the_receiver(testbed, recorder),
    ]
    testbed.inject(steps, then=lambda: testbed.rest(1.0))
    wait_until_told_after_waits(testbed, seconds=_LEASE_SECONDS + 40)
    testbed.observed(f"{repeats(recorder)} deliveries repeated what had been accepted")


def _kill_the_sender_at(testbed: Testbed, point: Point) -> None:
    testbed.points.arm(point, Strike.KILL)
    _place_until_struck(testbed, point)


def _kill_the_sender_in_mid_exchange(testbed: Testbed, recorder: Recorder, worker: Program) -> None:
    _hang(testbed, recorder)
    testbed.kill_children(worker)
    recorder.answers()


def _kill_the_receiver(testbed: Testbed, recorder: Recorder) -> None:
    """In mid-exchange; then it is away for a while."""
    _hang(testbed, recorder)
    recorder.kill()
    recorder.answers()
    testbed.place(5)
    testbed.rest(2.0, least=0.5)
    recorder.start()


def _hang(testbed: Testbed, recorder: Recorder) -> None:
    """Return once a delivery has arrived that is not answered."""
    recorder.answers(Answer(how=HANG))
    seen = len(recorder.deliveries())
    testbed.place(5)
    recorder.wait_for(seen + 1)


@fault(
    35,
    "the database killed at every step of a delivery; an acknowledgement lost",
    databases=SERVERS,
    scale=UNHURRIED,
    times=6,
    times_in_ci=2,
    seconds=90.0,
)
def fault_35_the_database_is_killed_at_every_step_of_a_delivery(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    testbed.start()
    steps: list[Callable[[], object]] = [
        lambda: _kill_the_database_at(testbed, Point.CLAIM_BEFORE_COMMIT),
        lambda: _kill_the_database_at(testbed, Point.CLAIM_AFTER_COMMIT),
        lambda: _kill_the_database_at(testbed, Point.NOTE_BEFORE_COMMIT),
        lambda: _lose_the_acknowledgement(testbed, Point.CLAIM_BEFORE_COMMIT),
        lambda: _lose_the_acknowledgement(testbed, Point.NOTE_BEFORE_COMMIT),
    ]
    testbed.inject(steps)
    testbed.wait_until_told(seconds=_LEASE_SECONDS + 30)
    testbed.observed(f"{repeats(recorder)} deliveries repeated what had been accepted")


def _kill_the_database_at(testbed: Testbed, point: Point) -> None:
    names = _hold(testbed, point)
    testbed.database.kill()
    testbed.points.let_go(point)
    testbed.rest(2.0, least=0.2)
    testbed.database.start()
    testbed.wait_until_settled(names)


def _lose_the_acknowledgement(testbed: Testbed, point: Point) -> None:
    """The COMMIT reaches the server, and its answer is lost."""
    proxy = testbed.database.proxy
    assert proxy is not None
    names = _hold(testbed, point)
    proxy.set(Mode.MUTE)
    testbed.points.let_go(point)
    testbed.rest(1.5, least=0.5)
    proxy.cut()
    proxy.set(Mode.PASS)
    testbed.wait_until_settled(names)


def _hold(testbed: Testbed, point: Point) -> list[str]:
    """Place orders, and hold the sender of their notifications at a point; returns their ids."""
    testbed.points.arm(point, Strike.WAIT)
    return _place_until_struck(testbed, point)


def _place_until_struck(testbed: Testbed, point: Point) -> list[str]:
    """Place orders until a process is struck at a point of a delivery; returns their ids.

    One lot may not suffice: a process that still has ends to note claims in the same transaction, which passes the
    points of a note.
    """
    names: list[str] = []
    for _ in range(_MOST_LOTS):
        names += testbed.place(10)
        if last_seen(lambda: testbed.points.struck(point), seconds=_LOT_SECONDS):
            return names
    raise AssertionError(f"{_MOST_LOTS} lots of orders, and no process was struck at {point}")


_PORTS = {"redis": 6379, "rabbitmq": 5672}
_BYTES = (100, 1_500)
"""Less than a message and the login before it."""


@fault(41, "the billing system's broker lost in mid-publish, muted, away", times=6, times_in_ci=2, seconds=90.0)
def fault_41_the_broker_of_notifications_is_lost(testbed: Testbed) -> None:
    proxy, url = testbed.enter(through_proxy(testbed.broker.direct_url, _PORTS[testbed.broker.kind]))
    consumer = testbed.consume_notifications(url)
    testbed.start()
    losses: list[Callable[[], object]] = [
        *[lambda: _lose_in_mid_publish(testbed, proxy)] * 3,
        lambda: _lose_the_confirmations(testbed, proxy),
        lambda: _be_away(testbed, proxy),
    ]
    if testbed.broker.rabbitmq is not None:
        # A message that Redis has answered for is lost with Redis; RabbitMQ's are persistent.
        losses.append(lambda: _kill_rabbitmq(testbed, consumer))
    testbed.inject(losses, then=lambda: wait_until_told_after_waits(testbed))
    testbed.observed(f"{repeats(consumer)} messages repeated what had been sent")


def _lose_in_mid_publish(testbed: Testbed, proxy: Proxy) -> None:
    """The next connection comes to a certain byte: of the login, or of a message."""
    proxy.hold_after(testbed.rng.randrange(*_BYTES))
    proxy.cut()
    names = testbed.place(6)
    is_held = proxy.wait_until_holding(10)
    testbed.observed("lost in mid-publish" if is_held else "all was sent before the byte came")
    testbed.rest(0.5)
    proxy.cut()
    testbed.wait_until_settled(names)


def _lose_the_confirmations(testbed: Testbed, proxy: Proxy) -> None:
    """What is published arrives, and its sender does not learn it: it is sent again."""
    proxy.set(Mode.MUTE)
    testbed.wait_until_settled(testbed.place(6))
    testbed.rest(1.5, least=0.5)
    proxy.cut()
    proxy.set(Mode.PASS)


def _be_away(testbed: Testbed, proxy: Proxy) -> None:
    proxy.set(Mode.REFUSE)
    proxy.cut()
    testbed.wait_until_settled(testbed.place(6))
    testbed.rest(2.0, least=0.5)
    proxy.set(Mode.PASS)


def _kill_rabbitmq(testbed: Testbed, consumer: NotificationConsumer) -> None:
    """While messages are published and consumed; it is the worker's broker as well."""
    node = testbed.broker.rabbitmq
    assert node is not None
    seen = len(consumer.deliveries())
    names = testbed.place(30)
    give_up = time.monotonic() + 20
    while len(consumer.deliveries()) == seen and time.monotonic() < give_up:
        time.sleep(0.01)
    node.kill()
    testbed.rest(1.0)
    node.start()
    eventually(lambda: _is_connected_again(testbed), "a new connection of the billing system")
    testbed.wait_until_settled(names)


def _is_connected_again(testbed: Testbed) -> bool:
    """A broken connection is kept by kombu until something is sent by it: here, a tick that has no use."""
    try:
        testbed.send("reconciler.reconcile")
    except OperationalError:
        return False
    return True
