"""What befalls the tasks that take something in: orders, callbacks, cancellations."""

from collections.abc import Sequence

from tests.faults.catalogue import SERVERS, fault
from tests.faults.errands import CallingBack, Cancelling, Enqueueing, Errand
from tests.faults.house import VISIBILITY_SECONDS, House
from tests.faults.points import Point, Strike
from tests.support.processes import Program
from tests.support.waiting import eventually

_POINTS = (Point.INTAKE_BEFORE_COMMIT, Point.INTAKE_AFTER_COMMIT)
_APPLIED_WITHIN = VISIBILITY_SECONDS + 40.0
"""Redis hands a killed worker's messages out again after the former; the rest is for the start of server and worker."""


@fault(22, "the database killed, then the worker killed, during enqueue, callback and cancel tasks", databases=SERVERS)
def fault_22_the_database_and_the_worker_are_killed_during_intake(house: House) -> None:
    # One process: what is sent behind the errand that it is struck in waits.
    worker = house.worker(processes=1)
    house.beat()
    for struck in house.rng.sample(range(3), 2):
        calling_back = CallingBack(house)
        errands: list[Errand] = [Enqueueing(house), calling_back, Cancelling(house)]
        errands.insert(0, errands.pop(struck))
        worker = _kill_during(house, worker, errands)
        house.enqueue(calling_back.names)
        house.wait_until_settled(calling_back.names)


def _kill_during(house: House, worker: Program, errands: Sequence[Errand]) -> Program:
    """Kill database and worker during the first errand, while the others wait behind it; returns the next worker."""
    point = house.rng.choice(_POINTS)
    house.points.arm(point, Strike.WAIT)
    first, *others = errands
    first.send()
    house.wait_until_struck(point)
    for errand in others:
        errand.send()
    house.rest(0.5)
    house.database.kill()
    if house.rng.random() < 0.5:
        # The task finds its database gone, and insists.
        house.points.let_go(point)
    house.rest(2.0)
    worker.kill()
    house.points.disarm()
    house.injected()
    house.rest(1.0)
    house.database.start()
    worker = house.worker(processes=1)
    for errand in errands:
        eventually(errand.is_applied, f"{type(errand).__name__} applied", seconds=_APPLIED_WITHIN)
    return worker
