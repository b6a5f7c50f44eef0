"""Faults during the tasks of the intake: orders, callbacks, cancellations."""

from collections.abc import Sequence

from tests.faults.catalogue import SERVERS, fault
from tests.faults.errands import CallingBack, Cancelling, Enqueueing, Errand
from tests.faults.points import Point, Strike
from tests.faults.testbed import VISIBILITY_SECONDS, Testbed
from tests.support.processes import Program
from tests.support.waiting import eventually

_POINTS = (Point.INTAKE_BEFORE_COMMIT, Point.INTAKE_AFTER_COMMIT)
_APPLIED_WITHIN = VISIBILITY_SECONDS + 40.0
"""Redis redelivers a killed worker's messages after the former; the rest is for the start of server and worker."""


@fault(22, "the database killed, then the worker killed, during enqueue, callback and cancel tasks", databases=SERVERS)
def fault_22_the_database_and_the_worker_are_killed_during_intake(testbed: Testbed) -> None:
    # One process: what is sent after the errand in which it is struck waits.
    worker = testbed.start(processes=1)
    for struck in testbed.rng.sample(range(3), 2):
        calling_back = CallingBack(testbed)
        errands: list[Errand] = [Enqueueing(testbed), calling_back, Cancelling(testbed)]
        errands.insert(0, errands.pop(struck))
        worker = _kill_during(testbed, worker, errands)
        testbed.enqueue(calling_back.names)
        testbed.wait_until_settled(calling_back.names)


def _kill_during(testbed: Testbed, worker: Program, errands: Sequence[Errand]) -> Program:
    """Kill database and worker during the first errand, while the others wait behind it; returns the next worker."""
    point = testbed.rng.choice(_POINTS)
    testbed.points.arm(point, Strike.WAIT)
    first, *others = errands
    first.send()
    testbed.wait_until_struck(point)
    for errand in others:
        errand.send()
    testbed.rest(0.5)
    testbed.database.kill()
    if testbed.rng.random() < 0.5:
        # The task finds its database gone, and retries.
        testbed.points.let_go(point)
    testbed.rest(2.0)
    worker.kill()
    testbed.points.disarm()
    testbed.injected()
    testbed.rest(1.0)
    testbed.database.start()
    worker = testbed.worker(processes=1)
    for errand in errands:
        eventually(errand.is_applied, f"{type(errand).__name__} applied", seconds=_APPLIED_WITHIN)
    return worker
