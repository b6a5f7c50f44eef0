"""Killed at every step of a delivery: the sender, the receiver, the database."""

from collections.abc import Callable

from tests.faults.catalogue import SERVERS, fault
from tests.faults.endpoints import repeats
from tests.faults.notification_recorder import HANG, Answer
from tests.faults.points import Point, Strike
from tests.faults.recorder import Recorder
from tests.faults.testbed import UNHURRIED, Testbed
from tests.support.processes import Program
from tests.support.proxy import Mode
from tests.support.waiting import last_seen

_POINTS = (
    Point.CLAIM_BEFORE_COMMIT,
    Point.CLAIM_AFTER_COMMIT,
    Point.NOTE_BEFORE_COMMIT,
    Point.NOTE_AFTER_COMMIT,
)
_LEASE_SECONDS = 20.0
"""Not scaled: for so long nobody sends what a killed process had claimed."""
_LOT_SECONDS = 10.0
"""In so long the orders of a lot are settled, and their notifications sent."""
_MOST_LOTS = 4


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
    testbed.wait_until_told(seconds=_LEASE_SECONDS + 30)
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
