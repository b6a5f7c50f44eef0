"""The checker is checked: it catches each broken variant of the product, in a testbed in which the product passes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.faults.checker.promise import Verdict, check
from tests.faults.lanes import Lane
from tests.faults.points import Point, Strike
from tests.faults.testbed import Scale, Testbed
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults

SCALE = Scale(window=1.0, deadline=2.0, connect=0.5, tick=0.1)
# Ten of its windows are less than the time after which a transaction gives up its wait for a row.
SHORT = Scale(window=0.95, deadline=3.0, connect=0.5, tick=0.1)


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
        testbed.heal(bound=testbed.bound(queries=8))
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


def locked_between_two_queries(connection: sqlalchemy.Connection) -> bool:
    """Lock the rows. A query under way would set its row's time again after the release, and hide the violation."""
    rows = connection.exec_driver_sql("SELECT in_flight_query_id FROM query_budgets FOR UPDATE").all()
    is_between = all(row[0] is None for row in rows)
    if not is_between:
        connection.rollback()
    return is_between


def hold_the_row_for_ten_windows(
    testbed: Testbed, variant: str, boot_ids: tuple[str | None, ...] = (None, None)
) -> None:
    # Two workers: all ticks may go to one process of a worker, which never queries twice at once.
    testbed.trouble(latency=f"fixed:{0.6 * SHORT.deadline:g}")
    for number, (boot_id, settings) in enumerate(zip(boot_ids, testbed.settings_without_sharing(), strict=True)):
        testbed.start(f"worker-{number}", variant=variant, boot_id=boot_id, **settings)
    testbed.place(450, outcome="stuck")
    testbed.wait_for_arrivals()
    engine = sqlalchemy.create_engine(testbed.database.direct_url, poolclass=NullPool)
    with engine.connect() as connection:
        eventually(lambda: locked_between_two_queries(connection), "the row, locked while no query is under way")
        threading.Event().wait(10 * SHORT.window)
        connection.rollback()
    testbed.wait_for_arrivals(3)
    testbed.trouble()


def race_a_callback_with_an_older_answer(testbed: Testbed, variant: str) -> None:
    testbed.points.arm(Point.WRITE_BACK_BEGINS, Strike.WAIT)
    testbed.start(variant=variant)
    [name] = testbed.place(1, outcome="1", settle_after=3 * SCALE.reservation)
    testbed.wait_for_arrivals()
    eventually(lambda: testbed.points.struck(Point.WRITE_BACK_BEGINS), "an answer that waits to be written")
    eventually(lambda: testbed.truth()[name]["settled"], "the order settled at the platform")
    testbed.call_back(name)
    testbed.wait_until_settled([name])
    testbed.points.let_go(Point.WRITE_BACK_BEGINS)
    eventually(lambda: testbed.rows("SELECT id FROM platform_queries WHERE outcome = 'answered'"), "the answer written")


def let_every_other_request_take_its_time(testbed: Testbed, variant: str) -> None:
    delays = iter([0.4 * SCALE.deadline, 0.0] * 50)
    testbed.platform_proxy.delay_requests(lambda: next(delays))
    testbed.start(variant=variant)
    testbed.place(550, outcome="stuck")
    testbed.wait_for_arrivals(4)


def two_hosts(testbed: Testbed, variant: str) -> None:
    hold_the_row_for_ten_windows(testbed, variant, boot_ids=("boot-a", "boot-b"))


CASES: dict[str, tuple[str, Callable[[Testbed, str], None], str, Scale]] = {
    "redis-budget": ("sqlite", flush_redis_between_queries, "S1", SCALE),
    "waits-for-the-row": ("postgresql", hold_the_row_for_ten_windows, "S1", SHORT),
    "waits-by-database-clock": ("postgresql", two_hosts, "S1", SHORT),
    "no-guard": ("sqlite", race_a_callback_with_an_older_answer, "S2", SCALE),
    "send-to-send": ("sqlite", let_every_other_request_take_its_time, "S1", SCALE),
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
