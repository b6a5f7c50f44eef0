"""Clocks that are stepped, and two workers that share a database, but neither clocks nor settings."""

import signal
import subprocess
import time
from collections.abc import Sequence
from functools import cache

from tests.faults.catalogue import fault
from tests.faults.points import Point
from tests.faults.testbed import Testbed
from tests.support.processes import Program
from tests.support.waiting import eventually

_HOUR = 3600.0


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
    """Seconds until these orders, which are due, were polled. A step that blocks the queries does so for an hour.

    By the grants, not the arrivals: the platform accepts no timestamp of a host whose clock is ahead, and so it refuses
    the query without reading its ids.
    """
    began = time.monotonic()
    find_query = f"SELECT 1 FROM platform_queries WHERE polled_ids LIKE '%%{names[0]}%%' AND outcome <> 'unsent'"
    what = f"a query about orders that are due, after a step of the {step}"
    eventually(lambda: testbed.rows(find_query), what, seconds=60.0)
    return time.monotonic() - began


_QUERIES_EACH = 3
_ROUNDS = 12
_SHORTER = 0.6
"""The shorter window, in windows of the platform. Its reservation is longer than the platform's window."""


def _in_time_namespace(seconds: int) -> tuple[str, ...]:
    return ("unshare", "--time", "--boottime", str(seconds), "--fork")


@cache
def _may_enter_time_namespaces() -> bool:
    """Linux 5.6 and newer, for root."""
    try:
        return subprocess.run([*_in_time_namespace(1), "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@fault(
    24,
    "two workers on one database in different time namespaces",
    times=6,
    times_in_ci=2,
    seconds=90,
    needs=_may_enter_time_namespaces,
)
def fault_24_two_workers_live_in_different_time_namespaces(testbed: Testbed) -> None:
    # Ahead of the host by one offset each, or one of them in the host's own: the boot id is the same everywhere.
    offsets = testbed.rng.choice(((0, 1000), (1000, 0), (1000, 5000), (5000, 1000)))
    workers = [
        testbed.worker(f"ahead-by-{offset}", under=_in_time_namespace(offset) if offset else (), **settings)
        for offset, settings in zip(offsets, testbed.settings_without_sharing(), strict=True)
    ]
    testbed.beat()
    testbed.trouble(latency=f"alternate:0,{0.5 * testbed.scale.deadline:g}")
    for _ in range(_ROUNDS):
        testbed.wait_until_settled(testbed.place(110))
        testbed.injected()
        if min(_granted(workers)) >= _QUERIES_EACH:
            break
    counts = _granted(workers)
    testbed.observed(f"boot clocks ahead by {offsets} s; queries granted: {counts}")
    assert min(counts) >= _QUERIES_EACH, f"one of the two workers has hardly queried: {counts}"
    testbed.trouble()


def _granted(workers: Sequence[Program]) -> list[int]:
    """How many queries each worker was granted, by its log."""
    return [worker.output.count("query_granted") for worker in workers]


@fault(25, "two workers with different windows on one database", times=6, times_in_ci=2, seconds=120)
def fault_25_two_workers_have_different_windows(testbed: Testbed) -> None:
    window = testbed.scale.window
    shorter_first = testbed.rng.random() < 0.5
    testbed.observed(f"the {'shorter' if shorter_first else 'longer'} window's worker started first")
    if shorter_first:
        # Before the longer window is known it sends one query: a second could only follow the shorter window.
        shorter = testbed.worker("shorter", query_window_seconds=_SHORTER * window)
        beat = testbed.beat()
        testbed.wait_until_settled(testbed.place(1))
        longer = testbed.worker("longer")
    else:
        longer = testbed.worker("longer")
        beat = testbed.beat()
        testbed.wait_until_settled(testbed.place(10))
        # It logs the reason, and does not start.
        refusal = "RECONCILER_QUERY_WINDOW_SECONDS is"
        shorter = testbed.worker("shorter", query_window_seconds=_SHORTER * window, until=refusal)
        assert shorter.wait() == 1
    # Its processes open the database by themselves; with immediate answers only the window closes the slot.
    testbed.rest(1.0, least=0.5)
    queries_before = _granted([shorter])
    testbed.wait_until_settled(testbed.place(400))
    testbed.injected()
    if shorter_first:
        _leave_the_shorter_alone(testbed, longer)
    else:
        # The other one did not start: no worker is left.
        longer.kill()
    if (queries := _granted([shorter])) == queries_before and shorter_first:
        eventually(lambda: "window" in _warnings(shorter), "a line about the windows in the log")
    testbed.observed(
        f"queries granted to the shorter window: {queries}, {queries_before} of them before the longer one came"
    )
    testbed.worker("longer-again")
    assert beat.pid
    testbed.heal(bound=testbed.bound(queries=4))


def _leave_the_shorter_alone(testbed: Testbed, longer: Program) -> None:
    """Alone, too, it must follow the longer window, which the row holds."""
    longer.kill()
    testbed.place(250)
    testbed.rest(3 * testbed.scale.reservation, least=2 * testbed.scale.reservation)
    testbed.injected()


def _warnings(worker: Program) -> str:
    return "\n".join(line for line in worker.output.splitlines() if "[warning" in line or "[error" in line)
