"""The checker is checked: it catches each broken variant of the product, in a testbed in which the product passes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.faults.checker.promise import Verdict, check
from tests.faults.lanes import Lane
from tests.faults.points import Point, Strike
from tests.faults.scenarios.races import callback_overtakes_an_older_answer
from tests.faults.testbed import Scale, Testbed
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults

SCALE = Scale(window=1.0, deadline=2.0, tick=0.1)
# Two queries that a variant sends within a window are still that close together on a busy machine.
LONG = Scale(window=3.0, deadline=3.0, tick=0.1)
SLOW = Scale(window=2.0, deadline=5.0, tick=0.1)


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with Lane(tmp_path_factory.mktemp("lane")) as lane:
        yield lane


@contextmanager
def testbed_on(lane: Lane, database: str, folder: Path, scale: Scale) -> Iterator[Testbed]:
    with ExitStack() as stack:
        yield Testbed(
            stack=stack,
            folder=folder,
            database=stack.enter_context(lane.database(database)),
            broker=stack.enter_context(lane.broker("redis")),
            seed="1",
            scale=scale,
        )


def checked(case: str, variant: str, lane: Lane, folder: Path) -> Verdict:
    """What the checker says of this variant, or of the product, in the testbed of a case."""
    database, run, _, scale = CASES[case]
    with testbed_on(lane, database, folder, scale) as testbed:
        run(testbed, variant)
        testbed.heal(bound=testbed.bound(queries=6))
        return check(testbed.finish())


def broken(verdict: Verdict) -> set[str]:
    """The invariants that the checker found broken."""
    return {violation.partition(":")[0] for violation in verdict.violations}


def flush_redis_between_queries(testbed: Testbed, variant: str) -> None:
    testbed.start(variant=variant, processes=1)
    testbed.place(350, outcome="stuck")
    assert testbed.broker.valkey is not None
    for _ in range(3):
        testbed.wait_for_arrivals()
        testbed.broker.valkey.flush()


_WAITING_FOR_LONG = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    f" AND query_start < clock_timestamp() - interval '{LONG.reservation + 0.1:g} s'"
)


def hold_the_row_past_a_reservation(
    testbed: Testbed, variant: str, boot_ids: tuple[str | None, ...] = (None, None)
) -> None:
    # Each has one process, which ticks by itself: while both wait for the row, none can come first by fresh clocks.
    for number, boot_id in enumerate(boot_ids):
        testbed.worker(f"worker-{number}", variant=variant, boot_id=boot_id, processes=1)
    eventually(lambda: testbed.rows("SELECT 1 FROM query_budgets"), "the slot's row")
    # Open at once; no worker takes it, since there is no order yet.
    testbed.execute("UPDATE query_budgets SET due_at = clock_timestamp(), boot_due_us = 0, wait_us = 0")
    engine = sqlalchemy.create_engine(testbed.database.direct_url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT id FROM query_budgets FOR UPDATE").all()
        testbed.place(350, outcome="stuck")
        if variant == "product":
            # It waits for no locked row.
            threading.Event().wait(LONG.reservation)
        else:
            eventually(
                lambda: testbed.rows(_WAITING_FOR_LONG)[0][0] >= len(boot_ids), "workers that wait for long", seconds=60
            )
        testbed.points.arm(Point.GRANT_AFTER_COMMIT, Strike.WAIT)
        connection.rollback()
    testbed.wait_until_struck(Point.GRANT_AFTER_COMMIT)
    # The first one is granted, and has sent nothing. By stale clocks its slot is open again; by the product's only once
    # its reservation is over, and then it is too late for the first one to send.
    testbed.wait_for_arrivals()
    testbed.points.let_go(Point.GRANT_AFTER_COMMIT)
    testbed.wait_for_arrivals(2)


def race_a_callback_with_an_older_answer(testbed: Testbed, variant: str) -> None:
    testbed.start(variant=variant)
    race = partial(callback_overtakes_an_older_answer, testbed)
    eventually(race, "a race with an answer that came whole")


def let_every_other_request_take_its_time(testbed: Testbed, variant: str) -> None:
    delays = iter([0.4 * SLOW.deadline, 0.0] * 50)
    testbed.platform_proxy.delay_requests(lambda: next(delays))
    testbed.start(variant=variant)
    testbed.place(350, outcome="stuck")
    testbed.wait_for_arrivals(4)


def two_hosts(testbed: Testbed, variant: str) -> None:
    hold_the_row_past_a_reservation(testbed, variant, boot_ids=("boot-a", "boot-b"))


CASES: dict[str, tuple[str, Callable[[Testbed, str], None], str, Scale]] = {
    "redis-budget": ("sqlite", flush_redis_between_queries, "S1", LONG),
    "waits-for-the-row": ("postgresql", hold_the_row_past_a_reservation, "S1", LONG),
    "waits-by-database-clock": ("postgresql", two_hosts, "S1", LONG),
    "no-guard": ("sqlite", race_a_callback_with_an_older_answer, "S2", SCALE),
    "send-to-send": ("sqlite", let_every_other_request_take_its_time, "S1", SLOW),
}
"""Each variant: the database, what happens to the testbed, the invariant that breaks, and the testbed's durations."""


@pytest.mark.parametrize("variant", CASES)
def test_the_checker_catches(variant: str, lane: Lane, tmp_path: Path) -> None:
    assert CASES[variant][2] in broken(checked(variant, variant, lane, tmp_path))


@pytest.mark.parametrize("case", CASES)
def test_the_product_passes_where_the_checker_catches(case: str, lane: Lane, tmp_path: Path) -> None:
    verdict = checked(case, "product", lane, tmp_path)
    assert verdict.violations == ()
    assert verdict.queries >= 1
