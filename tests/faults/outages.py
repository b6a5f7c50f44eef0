"""One outage of the database at a time: what is sent meanwhile, and what must hold during and after it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.faults.errands import CallingBack, Cancelling, Enqueueing, Errand
from tests.faults.house import House
from tests.faults.points import Point, Strike
from tests.support.waiting import eventually

Outage = Callable[[], AbstractContextManager[object]]
"""The database refuses for as long as the context lasts."""

_WINDOWS = (3.0, 7.0)
_TASK_RETRIES = 8.0
"""Seconds between two attempts of a task that is held back, at most, after outages as short as these. Not scaled."""
_APPLIED_WITHIN = 60.0
_MOMENTS = (None, Point.GRANT_BEFORE_COMMIT, Point.WRITE_BACK_BEGINS)


def go_through(house: House, outages: dict[str, Outage], *, asks_nothing: bool = True) -> None:
    """Go through each outage at a moment of its own, with orders, callbacks and cancellations sent in it.

    `asks_nothing`: whether no grant can be committed, so that the platform must see nothing once the last query's
    deadline is over. After the last one the testbed heals.
    """
    moments = house.rng.sample(_MOMENTS, k=len(_MOMENTS))
    for number, (name, outage) in enumerate(outages.items(), start=1):
        moment = moments[number % len(moments)]
        calling_back = CallingBack(house)
        errands: list[Errand] = [Enqueueing(house), calling_back, Cancelling(house)]
        names = _reach(house, moment)
        with outage():
            began = time.monotonic()
            if moment is not None:
                house.points.let_go(moment)
            for errand in errands:
                errand.send()
            house.rest(_WINDOWS[1] * house.scale.window, least=_WINDOWS[0] * house.scale.window)
            seen = house.arrivals()
            seconds = time.monotonic() - began
        house.injected()
        house.observed(f"{name}, for {seconds:.1f} s, {f'at {moment}' if moment else 'between queries'}")
        if number == len(outages):
            house.heal(bound=house.bound(queries=4, extra=_TASK_RETRIES))
        # Granted before, a query may have been sent by its deadline.
        late = [one["number"] for one in seen if one["monotonic"] > began + house.scale.deadline]
        assert not (late and asks_nothing), f"{name}: asked without a grant that could be committed: arrivals {late}"
        for errand in errands:
            eventually(
                errand.is_applied, f"{type(errand).__name__} applied after: {name}", seconds=_APPLIED_WITHIN, every=0.2
            )
        house.enqueue(calling_back.names)
        house.wait_until_settled([*names, *calling_back.names])


def _reach(house: House, moment: Point | None) -> list[str]:
    """Bring the testbed to a moment of a pass; returns the orders that were placed for it, with some that wait."""
    if moment is None:
        names = house.place(110)
        house.rest(house.scale.reservation)
        return names
    house.points.arm(moment, Strike.WAIT)
    names = house.place(110, wait=False)
    house.wait_until_struck(moment)
    if moment is Point.WRITE_BACK_BEGINS:
        # No transaction is open: whoever stands in a grant may keep all others out, and is not given long.
        house.wait_for_rows(names)
    return names
