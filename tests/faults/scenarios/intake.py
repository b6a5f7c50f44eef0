"""What befalls the tasks that take something in: orders, callbacks, cancellations."""

from collections.abc import Sequence
from typing import Protocol

from tests.faults.catalogue import SERVERS, fault
from tests.faults.house import VISIBILITY_SECONDS, House
from tests.faults.points import Point, Strike
from tests.support.processes import Program
from tests.support.waiting import eventually

_POINTS = (Point.INTAKE_BEFORE_COMMIT, Point.INTAKE_AFTER_COMMIT)
_APPLIED_WITHIN = VISIBILITY_SECONDS + 40.0
"""Redis hands a killed worker's messages out again after the former; the rest is for the start of server and worker."""


class _Errand(Protocol):
    """Something that the billing system sends, and that must not be lost."""

    def send(self) -> None: ...

    def is_applied(self) -> bool: ...


class _Enqueueing:
    """Good orders, and some that are refused."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._good = house.place(12, enqueue=False)
        self._bad = house.place(3, enqueue=False)

    def send(self) -> None:
        self._house.enqueue(self._good)
        orders = [{"request_id": name, "mobile": "188-0000"} for name in self._bad]
        self._house.send("reconciler.enqueue_orders", orders)
        self._house.sent.refused.update(self._bad)

    def is_applied(self) -> bool:
        refused = "\n".join(row[0] for row in self._house.rows("SELECT payload FROM rejected_orders"))
        return self._house.states().keys() >= {*self._good} and all(name in refused for name in self._bad)


class _CallingBack:
    """Callbacks for orders that nobody has enqueued yet: each is kept."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.names = house.place(3, enqueue=False, outcome="1")

    def send(self) -> None:
        for name in self.names:
            self._house.call_back(name)

    def is_applied(self) -> bool:
        kept = {row[0] for row in self._house.rows("SELECT request_id FROM unmatched_callbacks")}
        return kept >= {*self.names}


class _Cancelling:
    """Cancellations of orders that would be pending for ever."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._names = house.place(5, outcome="stuck")

    def send(self) -> None:
        self._house.cancel(self._names)

    def is_applied(self) -> bool:
        states = self._house.states()
        return all(states[name] == "cancelled" for name in self._names)


@fault(22, "the database killed, then the worker killed, during enqueue, callback and cancel tasks", databases=SERVERS)
def fault_22_the_database_and_the_worker_are_killed_during_intake(house: House) -> None:
    # One process: what is sent behind the errand that it is struck in waits.
    worker = house.worker(processes=1)
    house.beat()
    for struck in house.rng.sample(range(3), 2):
        calling_back = _CallingBack(house)
        errands: list[_Errand] = [_Enqueueing(house), calling_back, _Cancelling(house)]
        errands.insert(0, errands.pop(struck))
        worker = _kill_during(house, worker, errands)
        house.enqueue(calling_back.names)
        house.wait_until_settled(calling_back.names)


def _kill_during(house: House, worker: Program, errands: Sequence[_Errand]) -> Program:
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
