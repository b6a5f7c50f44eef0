"""One outage of the database at a time: what is sent during it, and what must hold during and after it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.faults.errands import CallingBack, Cancelling, Enqueueing, Errand
from tests.faults.points import Point
from tests.faults.testbed import Testbed
from tests.support.waiting import eventually

Outage = Callable[[], AbstractContextManager[object]]
"""A context during which the database refuses."""

_MOMENTS = (None, Point.GRANT_BEFORE_COMMIT, Point.WRITE_BACK_BEGINS)


def go_through(testbed: Testbed, outages: dict[str, Outage], *, without_queries: bool = True) -> None:
    """Go through each outage at a moment of its own, with orders, callbacks and cancellations sent during it.

    `without_queries`: whether no grant can be committed, so that the platform must see nothing once the last query's
    deadline is over. After the last one the testbed heals.
    """
    moments = testbed.rng.sample(_MOMENTS, k=len(_MOMENTS))
    for number, (name, outage) in enumerate(outages.items(), start=1):
        moment = moments[number % len(moments)]
        calling_back = CallingBack(testbed)
        enqueueing = Enqueueing(testbed)
        errands: list[Errand] = [enqueueing, calling_back, Cancelling(testbed)]
        names = _reach(testbed, moment)
        with outage():
            began = time.monotonic()
            if moment is not None:
                testbed.points.let_go(moment)
            for errand in errands:
                errand.send()
            window = testbed.scale.window
            testbed.rest((4 if testbed.is_brief else 7) * window, least=3 * window)
            seen = testbed.arrivals()
            seconds = time.monotonic() - began
        testbed.injected()
        testbed.observed(f"{name}, for {seconds:.1f} s, {f'at {moment}' if moment else 'between queries'}")
        if number == len(outages):
            # A task that was put off waits for a random time, a minute at most: its orders are waited for below.
            testbed.heal(bound=testbed.bound(queries=4), put_off=enqueueing.names)
        # Granted before, a query may have been sent by its deadline.
        late = [one["number"] for one in seen if one["monotonic"] > began + testbed.scale.deadline]
        assert not (late and without_queries), (
            f"{name}: queried without a grant that could be committed: arrivals {late}"
        )
        for errand in errands:
            eventually(errand.is_applied, f"{type(errand).__name__} applied after: {name}", every=0.2)
        testbed.enqueue(calling_back.names)
        testbed.wait_until_settled([*names, *enqueueing.names, *calling_back.names])


def _reach(testbed: Testbed, moment: Point | None) -> list[str]:
    """Bring the testbed to a moment of a pass; returns the orders that were placed for it, and some that wait."""
    if moment is None:
        names = testbed.place(110)
        testbed.rest(testbed.scale.reservation)
        return names
    names = testbed.hold(moment, 110)
    if moment is Point.WRITE_BACK_BEGINS:
        # No transaction is open: a process that is held in a grant may block all others, so it is held only briefly.
        testbed.wait_for_rows(names)
    return names
