"""Faults of the database: killed, muted, locked, with a storm of transactions, restored from a dump."""

import time
from collections.abc import Callable, Sequence

from tests.faults.catalogue import ALL_DATABASES, SERVERS, fault
from tests.faults.exchanges import check_each_is_sent_once, newest_query, outcome_of, slot_opens_at
from tests.faults.points import Point, Strike
from tests.faults.storm import Storm
from tests.faults.strangers import locked
from tests.faults.testbed import UNHURRIED, Scale, Testbed
from tests.support.dumping import Dump
from tests.support.processes import Program
from tests.support.proxy import Mode
from tests.support.server_process import path_of
from tests.support.waiting import eventually


def _hold_with_an_answer(testbed: Testbed, point: Point) -> list[str]:
    """Place orders, and hold the process at a point after the platform has answered about them; returns their ids."""
    for _ in range(5):
        names = testbed.hold(point)
        if _answers_about(testbed, names):
            return names
        # On a busy machine a query may miss its deadline; that failure is written back, too.
        testbed.points.let_go(point)
        testbed.wait_until_settled(names)
    raise AssertionError("the platform answered no query in time")


def _answers_about(testbed: Testbed, names: Sequence[str]) -> int:
    """How many queries about any of these orders the platform has answered."""
    return sum(bool({*names} & {name for name, *_ in arrival["items"]}) for arrival in testbed.arrivals())


@fault(
    9,
    "the database killed during the grant's COMMIT; the acknowledgement lost",
    databases=SERVERS,
    scale=UNHURRIED,
)
def fault_09_a_grants_commit_or_its_acknowledgement_is_lost(testbed: Testbed) -> None:
    testbed.start()
    unheard: list[int] = []
    losses: list[Callable[[], None]] = [
        lambda: _kill_before_the_commit(testbed),
        lambda: _kill_at_the_commit(testbed),
        lambda: unheard.append(_lose_the_acknowledgement(testbed, and_kill=False)),
        lambda: unheard.append(_lose_the_acknowledgement(testbed, and_kill=True)),
    ]
    for lose_a_grant in testbed.rng.sample(losses, 3):
        lose_a_grant()
        testbed.injected()
    check_each_is_sent_once(testbed, unsent=unheard)


def _kill_before_the_commit(testbed: Testbed) -> None:
    seen = len(testbed.arrivals())
    names = testbed.hold(Point.GRANT_BEFORE_COMMIT)
    testbed.database.kill()
    testbed.points.let_go(Point.GRANT_BEFORE_COMMIT)
    testbed.rest(2.0, least=0.2)
    assert len(testbed.arrivals()) == seen, "a query was sent, and its grant is not committed"
    testbed.database.start()
    testbed.wait_until_settled(names)


def _kill_at_the_commit(testbed: Testbed) -> None:
    """The moment decides whether the COMMIT went through, and whether it was acknowledged."""
    names = testbed.hold(Point.GRANT_BEFORE_COMMIT)
    testbed.points.let_go(Point.GRANT_BEFORE_COMMIT)
    testbed.rest(0.03)
    testbed.database.kill()
    testbed.rest(1.0)
    testbed.database.start()
    testbed.wait_until_settled(names)


def _lose_the_acknowledgement(testbed: Testbed, *, and_kill: bool) -> int:
    """The COMMIT reaches the server, and its answer is lost; returns the query that it granted."""
    proxy = testbed.database.proxy
    assert proxy is not None
    known, seen = newest_query(testbed), len(testbed.arrivals())
    names = testbed.hold(Point.GRANT_BEFORE_COMMIT)
    proxy.set(Mode.MUTE)
    testbed.points.let_go(Point.GRANT_BEFORE_COMMIT)
    eventually(lambda: newest_query(testbed) > known, "a committed grant")
    query, opens_at = newest_query(testbed), slot_opens_at(testbed)
    testbed.rest(1.0)
    if and_kill:
        testbed.database.kill()
    proxy.cut()
    proxy.set(Mode.PASS)
    if and_kill:
        testbed.database.start()
    testbed.wait_until_settled(names)
    assert outcome_of(testbed, query) == "lost", f"the unacknowledged query is {outcome_of(testbed, query)}"
    early = opens_at - testbed.arrivals()[seen]["monotonic"]
    assert early <= 0, f"the reservation was not kept: the next query came {early:.3f} s too early"
    return query


@fault(10, "the database killed between the answer and the write-back", databases=SERVERS, scale=UNHURRIED)
def fault_10_the_database_is_killed_before_the_write_back(testbed: Testbed) -> None:
    testbed.start()
    outages = ["short", "long", "in it"]
    testbed.rng.shuffle(outages)
    for outage in outages:
        _lose_a_write_back(testbed, outage)
    check_each_is_sent_once(testbed)


def _lose_a_write_back(testbed: Testbed, outage: str) -> None:
    point = Point.WRITE_BACK_BEFORE_COMMIT if outage == "in it" else Point.WRITE_BACK_BEGINS
    names = _hold_with_an_answer(testbed, point)
    query = newest_query(testbed)
    testbed.database.kill()
    testbed.points.let_go(point)
    if outage == "long":
        # The write-back retries for one reservation, and waits for 2 s at most between two of its attempts.
        eventually(lambda: testbed.points.has_continued(point), "a write-back that begins")
        least = testbed.scale.reservation + 2.1
        testbed.rest(least + 2 * testbed.scale.window, least=least)
    else:
        testbed.rest(1.0)
    testbed.database.start()
    testbed.injected()
    testbed.wait_until_settled(names)
    outcome, answers = outcome_of(testbed, query), _answers_about(testbed, names)
    if outage == "long":
        assert outcome == "lost", f"the query is {outcome}, and its write-back cannot have outlasted the outage"
    # Written by a retry, or queried again: one of the two, and not both.
    assert (outcome, answers > 1) in (("answered", False), ("lost", True)), f"{outcome}, and answered {answers} times"
    testbed.observed(f"outage {outage}: {'queried again' if answers > 1 else 'written by a retry'}")


# A latency of half a window leaves most of this deadline.
@fault(
    11,
    "the budget's row locked from outside for ten windows",
    databases=ALL_DATABASES,
    scale=Scale(deadline=3.0),
)
def fault_11_the_budgets_row_is_locked_for_ten_windows(testbed: Testbed) -> None:
    testbed.start()
    in_mid_query = testbed.rng.random() < 0.5
    names = _hold_with_an_answer(testbed, Point.WRITE_BACK_BEGINS) if in_mid_query else testbed.place(10)
    if not in_mid_query:
        testbed.wait_until_settled(names)
        testbed.rest(testbed.scale.reservation)
    # Long exchanges: an answer that is written at once would close a slot that was opened too early.
    testbed.trouble(latency=f"fixed:{0.5 * testbed.scale.window:g}")
    with locked(testbed, "query_budgets"):
        locked_at = time.monotonic()
        testbed.points.let_go(Point.WRITE_BACK_BEGINS)
        # On SQLite a lock of one row locks all: their rows come when the lock is gone.
        names += testbed.place(350, wait=False)
        testbed.rest(11 * testbed.scale.window, least=10 * testbed.scale.window)
        seen = testbed.arrivals()
    testbed.injected()
    testbed.observed(f"locked {'in mid-query' if in_mid_query else 'between queries'}")
    # Only one more query may be sent at once: a grant that waited for the lock is too old to send, its slot is spent.
    testbed.heal(bound=testbed.bound(queries=6))
    # Granted before the lock, a query may have been sent by its deadline.
    late = [one["number"] for one in seen if one["monotonic"] > locked_at + testbed.scale.deadline]
    assert not late, f"queried while the budget was locked: arrivals {late}"
    testbed.wait_until_settled(names)
    assert len(testbed.arrivals()) >= len(seen) + 3, "too few queries after the release to check their spacing"


_STORM_SECONDS = (8.0, 20.0)
"""The least seconds of a storm, and the most where the worker never lost a deadlock."""


@fault(12, "deadlocks and MariaDB's error 1020 in a storm", databases=SERVERS)
def fault_12_transactions_deadlock_in_a_storm(testbed: Testbed) -> None:
    testbed.start()
    testbed.wait_until_settled(testbed.place(10))
    with Storm(testbed) as storm:
        began = time.monotonic()
        least, most = (began + seconds for seconds in _STORM_SECONDS)
        while time.monotonic() < least or (storm.deadlocks_of_others < 1 and time.monotonic() < most):
            testbed.place(10, wait=False)
            testbed.rest(testbed.scale.window)
        eventually(lambda: storm.deadlocks, "a deadlock, as the server counts them")
    testbed.injected(storm.deadlocks)
    # The worker reads committed rows, so no server raises this error by itself.
    for point in (Point.GRANT_BEFORE_COMMIT, Point.WRITE_BACK_BEFORE_COMMIT):
        testbed.points.arm(point, Strike.LOSE_RACE)
        names = testbed.place(10)
        testbed.wait_until_struck(point)
        testbed.injected()
        testbed.wait_until_settled(names)
    testbed.heal()
    testbed.observed(
        f"{storm.deadlocks} deadlocks, {storm.deadlocks_of_others} of them lost by the worker;"
        f" {storm.races} rows changed between a plain and a locking read"
    )
    check_each_is_sent_once(testbed)


_REASON = ("--reason", "by the fault suite")
# A restore and the start of a worker take some seconds, many on a busy machine: the window is to be longer.
_LONG_WINDOW = Scale(window=20.0, deadline=4.0)


def _can_dump() -> bool:
    return all(path_of(program) for program in ("mariadb-dump", "mariadb", "sqlite3"))


def _restore(testbed: Testbed, dump: Dump, worker: Program) -> None:
    """Restore the dump while no worker runs; then a worker starts."""
    worker.kill()
    dump.restore()
    testbed.injected()
    testbed.worker("worker-2")


@fault(
    46,
    "the database restored from a dump of before the last query",
    scale=_LONG_WINDOW,
    times=6,
    times_in_ci=3,
    seconds=180.0,
    needs=_can_dump,
)
def fault_46_the_last_query_is_lost_by_a_restore(testbed: Testbed) -> None:
    dump = Dump(testbed.database.direct_url, testbed.folder)
    worker = testbed.start()
    names = testbed.place(60, outcome="1")
    testbed.rest(testbed.scale.window)
    dump.take()
    # So that there is a query since, whatever was polled before.
    seen = len(testbed.arrivals())
    lost = testbed.place(20, outcome="1", wait=False)
    testbed.wait_for_arrivals(since=seen, seconds=120.0)
    testbed.rest(2.0)
    sent_at = testbed.arrivals()[-1]["monotonic"]
    _restore(testbed, dump, worker)
    testbed.observed(f"a worker was ready {time.monotonic() - sent_at:.1f} s after the query that was lost")
    testbed.enqueue(lost)
    testbed.heal(bound=testbed.bound(queries=3, extra=testbed.scale.reservation))
    testbed.wait_until_settled([*names, *lost], seconds=120.0)
    is_logged = "database_changed" in (testbed.folder / "worker-2.log").read_text()
    testbed.observed("another database was noticed" if is_logged else "nothing was noticed")


@fault(
    47,
    "the database restored from a dump of before acts that the billing system was notified of",
    times=6,
    times_in_ci=3,
    seconds=120.0,
    needs=_can_dump,
)
def fault_47_receivers_know_newer_versions_than_a_restored_table(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    dump = Dump(testbed.database.direct_url, testbed.folder)
    worker = testbed.start()
    names = testbed.place(20)
    testbed.wait_until_settled(names)
    testbed.wait_until_told()
    dump.take()
    chosen = testbed.rng.sample(names, 12)
    # Those that stay reopened are not to be settled again.
    testbed.command("pause", "default", *_REASON)
    testbed.command("reopen", *chosen, "--force", *_REASON)
    testbed.command("cancel", *chosen[:4], *_REASON)
    testbed.command("resolve", *chosen[4:8], "--state", "succeeded", "--amount", "9.99", *_REASON)
    lost = testbed.place(5)
    testbed.wait_until_told()
    testbed.lost_events |= {one["id"] for one in recorder.deliveries()}
    _restore(testbed, dump, worker)
    # As the page on restoring says.
    testbed.enqueue(lost)
    testbed.command("resend", "--renew", "--since", "1h", "--yes", *_REASON)
    testbed.wait_until_told()
