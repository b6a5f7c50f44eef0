"""Faults of the clocks: stepped by an hour, in both directions, and back again."""

import signal
import time

from tests.faults.catalogue import fault
from tests.faults.points import Point
from tests.faults.testbed import Testbed
from tests.support.waiting import eventually

_HOUR = 3600.0
_BUSY_MACHINE_SECONDS = 5.0


@fault(20, "the worker's clock and the database's clock stepped by an hour, both ways", seconds=120.0)
def fault_20_the_clocks_are_stepped_by_an_hour(testbed: Testbed) -> None:
    # Their grace is over even by a clock that is an hour slow.
    testbed.order_age = 3 * _HOUR
    testbed.worker()
    beat = testbed.beat()
    steps = [(clock, seconds) for clock in ("host", "database") for seconds in (_HOUR, -_HOUR)]
    testbed.rng.shuffle(steps)
    placed: list[str] = []
    waits = []
    for clock, seconds in steps:
        for offset in (seconds, 0.0):
            moment = testbed.rng.choice(("between queries", "in mid-query", "in a back-off"))
            placed += _reach(testbed, moment)
            testbed.step_clock(clock, offset)
            if clock == "host":
                # An hour behind, beat sends no tick. An hour ahead, the worker throws its ticks away as expired.
                beat.send_signal(signal.SIGSTOP if offset else signal.SIGCONT)
            testbed.points.let_go(Point.WRITE_BACK_BEGINS)
            testbed.injected()
            fresh = testbed.place(5)
            waits.append(_wait_until_polled(testbed, fresh, f"{clock} by {offset:+g} s {moment}"))
            placed += fresh
    testbed.observed(
        f"polled {max(waits):.1f} s after a step at the latest; a reservation is {testbed.scale.reservation:g} s"
    )
    testbed.wait_until_settled(placed)


def _reach(testbed: Testbed, moment: str) -> list[str]:
    """Bring the testbed to the moment at which a clock is to be stepped; returns the orders that were placed for it."""
    if moment == "between queries":
        testbed.rest(testbed.scale.reservation)
        return []
    if moment == "in a back-off":
        testbed.trouble(shares={"http-503": 1.0}, queries=1)
        names = testbed.place(5)
        backed_off = "SELECT 1 FROM account_states WHERE backoff_level > 0"
        eventually(lambda: testbed.rows(backed_off), "an account that backs off")
        return names
    return testbed.hold(Point.WRITE_BACK_BEGINS, 5, wait=True)


def _wait_until_polled(testbed: Testbed, names: list[str], step: str) -> float:
    """Seconds until these orders, which are due, were polled: one full reservation at most, and a back-off.

    By the grants, not the arrivals: the platform accepts no timestamp of a host whose clock is ahead, and so it refuses
    the query without reading its ids. So the bound has a back-off, and one query more: that query's orders are
    suspects, which take turns with all others.
    """
    began = time.monotonic()
    find_query = f"SELECT 1 FROM platform_queries WHERE polled_ids LIKE '%%{names[0]}%%' AND outcome <> 'unsent'"
    backoffs = [0.0]

    def is_polled() -> bool:
        backoffs.extend(row[0] for row in testbed.rows("SELECT backoff_seconds FROM account_states"))
        return bool(testbed.rows(find_query))

    eventually(is_polled, f"a query about orders that are due, after a step of the {step}", seconds=60.0)
    seconds = time.monotonic() - began
    scale, backoff = testbed.scale, max(backoffs)
    # Without a beat a process ticks by itself after its patience.
    bound = scale.patience + scale.reservation + _BUSY_MACHINE_SECONDS
    if backoff:
        bound += backoff + scale.reservation
    assert seconds <= bound, f"polled {seconds:.1f} s after a step of the {step}; the bound is {bound:.1f} s"
    return seconds
