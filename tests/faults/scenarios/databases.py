"""What befalls the database: killed, mute, locked, stormed."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.faults.catalogue import ALL_DATABASES, SERVERS, fault
from tests.faults.grants import check_each_is_sent_once, newest_query, outcome_of, slot_opens_at
from tests.faults.house import House, Scale
from tests.faults.points import Point, Strike
from tests.faults.storm import Storm
from tests.support.proxy import Mode
from tests.support.waiting import eventually

# A session that stands idle in a transaction is ended after the deadline: this leaves time to strike.
_UNHURRIED = Scale(deadline=2.0)


def _hold(house: House, point: Point) -> list[str]:
    """Place orders, and let the process that polls them stand still at a point of its pass; returns their ids."""
    house.points.arm(point, Strike.WAIT)
    names = house.place(10, wait=False)
    house.wait_until_struck(point)
    return names


def _hold_with_an_answer(house: House, point: Point) -> list[str]:
    """Likewise at a point after the exchange, and the platform has answered about these orders."""
    for _ in range(5):
        names = _hold(house, point)
        if _answers_about(house, names):
            return names
        # On a busy machine a query may miss its deadline; its end is written back, too.
        house.points.let_go(point)
        house.wait_until_settled(names)
    raise AssertionError("the platform answered no query in time")


def _answers_about(house: House, names: Sequence[str]) -> int:
    """How many queries about any of these orders the platform has answered."""
    return sum(bool({*names} & {name for name, _ in arrival["answered"]}) for arrival in house.arrivals())


@fault(
    9,
    "the database killed during the grant's COMMIT; the acknowledgement lost",
    databases=SERVERS,
    scale=_UNHURRIED,
)
def fault_09_a_grants_commit_or_its_acknowledgement_is_lost(house: House) -> None:
    house.worker()
    house.beat()
    unheard: list[int] = []
    ways: list[Callable[[], None]] = [
        lambda: _kill_before_the_commit(house),
        lambda: _kill_at_the_commit(house),
        lambda: unheard.append(_lose_the_acknowledgement(house, and_kill=False)),
        lambda: unheard.append(_lose_the_acknowledgement(house, and_kill=True)),
    ]
    for lose_a_grant in house.rng.sample(ways, 3):
        lose_a_grant()
        house.injected()
    check_each_is_sent_once(house, unsent=unheard)


def _kill_before_the_commit(house: House) -> None:
    seen = len(house.arrivals())
    names = _hold(house, Point.GRANT_BEFORE_COMMIT)
    house.database.kill()
    house.points.let_go(Point.GRANT_BEFORE_COMMIT)
    house.rest(2.0, least=0.2)
    assert len(house.arrivals()) == seen, "a query was sent, and its grant is not committed"
    house.database.start()
    house.wait_until_settled(names)


def _kill_at_the_commit(house: House) -> None:
    """Whether the COMMIT went through, and the word of it, is for the moment to decide."""
    names = _hold(house, Point.GRANT_BEFORE_COMMIT)
    house.points.let_go(Point.GRANT_BEFORE_COMMIT)
    house.rest(0.03)
    house.database.kill()
    house.rest(1.0)
    house.database.start()
    house.wait_until_settled(names)


def _lose_the_acknowledgement(house: House, *, and_kill: bool) -> int:
    """The COMMIT reaches the server, and its answer nobody; returns the query that was granted by it."""
    proxy = house.database.proxy
    assert proxy is not None
    known, seen = newest_query(house), len(house.arrivals())
    names = _hold(house, Point.GRANT_BEFORE_COMMIT)
    proxy.set(Mode.MUTE)
    house.points.let_go(Point.GRANT_BEFORE_COMMIT)
    eventually(lambda: newest_query(house) > known, "a committed grant")
    query, opens_at = newest_query(house), slot_opens_at(house)
    house.rest(1.0)
    if and_kill:
        house.database.kill()
    proxy.cut()
    proxy.set(Mode.PASS)
    if and_kill:
        house.database.start()
    house.wait_until_settled(names)
    assert outcome_of(house, query) == "lost", f"the unheard query is {outcome_of(house, query)}"
    early = opens_at - house.arrivals()[seen]["monotonic"]
    assert early <= 0, f"the reservation did not stand: the next query came {early:.3f} s too early"
    return query


@fault(10, "the database killed between the answer and the write-back", databases=SERVERS, scale=_UNHURRIED)
def fault_10_the_database_is_killed_before_the_write_back(house: House) -> None:
    house.worker()
    house.beat()
    outages = ["short", "long", "in it"]
    house.rng.shuffle(outages)
    for outage in outages:
        _lose_a_write_back(house, outage)
    check_each_is_sent_once(house)


def _lose_a_write_back(house: House, outage: str) -> None:
    point = Point.WRITE_BACK_BEFORE_COMMIT if outage == "in it" else Point.WRITE_BACK_BEGINS
    names = _hold_with_an_answer(house, point)
    query = newest_query(house)
    house.database.kill()
    house.points.let_go(point)
    if outage == "long":
        # The write-back insists for one reservation, and waits for 2 s at most between two of its attempts.
        least = house.scale.reservation + 2.1
        house.rest(least + 2 * house.scale.window, least=least)
    else:
        house.rest(1.0)
    house.database.start()
    house.injected()
    house.wait_until_settled(names)
    outcome, answers = outcome_of(house, query), _answers_about(house, names)
    if outage == "long":
        assert outcome == "lost", f"the query is {outcome}, and its write-back cannot have outlasted the outage"
    # Written by the insistence, or asked again: one of the two, and not both.
    assert (outcome, answers > 1) in (("answered", False), ("lost", True)), f"{outcome}, and answered {answers} times"
    house.observed(f"outage {outage}: {'asked again' if answers > 1 else 'written all the same'}")


@fault(11, "the budget's row locked from outside for ten windows", databases=ALL_DATABASES)
def fault_11_the_budgets_row_is_locked_for_ten_windows(house: House) -> None:
    house.worker()
    house.beat()
    in_mid_query = house.rng.random() < 0.5
    names = _hold_with_an_answer(house, Point.WRITE_BACK_BEGINS) if in_mid_query else house.place(10)
    if not in_mid_query:
        house.wait_until_settled(names)
        house.rest(house.scale.reservation)
    # Long exchanges: an answer that is written at once would shut a slot that was opened too early.
    house.trouble(latency=f"fixed:{0.6 * house.scale.deadline:g}")
    with _budget_locked(house):
        locked_at = time.monotonic()
        house.points.let_go(Point.WRITE_BACK_BEGINS)
        # On SQLite who locks one row locks all: their rows come when the lock is gone.
        names += house.place(350, wait=False)
        house.rest(11 * house.scale.window, least=10 * house.scale.window)
        seen = house.arrivals()
    house.injected()
    house.observed(f"locked {'in mid-query' if in_mid_query else 'between queries'}")
    # One query more may be sent at once: a grant that waited for the lock is too old to be sent, and its slot is spent.
    house.heal(bound=house.bound(queries=6))
    # Granted before the lock, a query may have been sent by its deadline.
    late = [one["number"] for one in seen if one["monotonic"] > locked_at + house.scale.deadline]
    assert not late, f"asked while the budget was locked: arrivals {late}"
    house.wait_until_settled(names)
    assert len(house.arrivals()) >= len(seen) + 3, "too few queries after the release to judge their spacing"


@contextmanager
def _budget_locked(house: House) -> Iterator[None]:
    """The budget's row, locked by a session of somebody else; it has none of the product's bounds."""
    engine = sqlalchemy.create_engine(house.database.direct_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if house.database.kind == "sqlite" else "BEGIN")
        if house.database.kind != "sqlite":
            assert connection.exec_driver_sql("SELECT id FROM query_budgets FOR UPDATE").all()
        try:
            yield
        finally:
            connection.exec_driver_sql("COMMIT")


_STORM_SECONDS = (8.0, 20.0)
"""A storm blows at least so long; and at most, where the worker was never the loser."""


@fault(12, "deadlocks and MariaDB's error 1020 in a storm", databases=SERVERS)
def fault_12_transactions_deadlock_in_a_storm(house: House) -> None:
    house.worker()
    house.beat()
    house.wait_until_settled(house.place(10))
    with Storm(house) as storm:
        began = time.monotonic()
        least, most = (began + seconds for seconds in _STORM_SECONDS)
        while time.monotonic() < least or (storm.deadlocks_of_others < 1 and time.monotonic() < most):
            house.place(10, wait=False)
            house.rest(house.scale.window)
    eventually(lambda: storm.deadlocks, "a deadlock, as the server counts them")
    house.injected(storm.deadlocks)
    # The worker reads committed rows, so that no server says this to it by itself.
    for point in (Point.GRANT_BEFORE_COMMIT, Point.WRITE_BACK_BEFORE_COMMIT):
        house.points.arm(point, Strike.LOSE_RACE)
        names = house.place(10)
        house.wait_until_struck(point)
        house.injected()
        house.wait_until_settled(names)
    house.heal()
    house.observed(
        f"{storm.deadlocks} deadlocks, {storm.deadlocks_of_others} of them lost by the worker;"
        f" {storm.races} rows changed between a plain and a locking read"
    )
    check_each_is_sent_once(house)
