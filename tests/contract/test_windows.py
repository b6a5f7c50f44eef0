"""Workers with different windows on one database, on every database: the longest window holds for all of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.reconciling import Workbench, answer_to, item
from worker.database.tables import BUDGETS, QUERIES
from worker.database.transactions import Database
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import DeadlineExceeded
from worker.operations.maintain_slots import lower_windows

SHORT = Rules(grace_seconds=1.0, window_seconds=60.0, batch_size=2)
LONG = replace(SHORT, window_seconds=120.0)


@pytest.fixture
def short(migrated_database_url: str) -> Iterator[Workbench]:
    """The worker with the shorter window, which has begun the slot; it is open."""
    bench = Workbench(migrated_database_url, SHORT).open()
    bench.add(*(f"r{number}" for number in range(10)))
    yield bench
    bench.close()


@pytest.fixture
def long(short: Workbench) -> Iterator[Workbench]:
    """The worker with the longer one, on the same host; it has done nothing yet."""
    bench = Workbench(short.url, LONG, clock=short.clock)
    yield bench
    bench.close()


def start(bench: Workbench) -> None:
    """What a worker does before it is ready."""
    bench.maintenance.bring_up_to_date({slot.account_sid for slot in bench.slots})


def windows(bench: Workbench) -> list[float]:
    """Those that the rows hold, in seconds."""
    return [row["window_us"] / 1_000_000 for row in bench.rows(BUDGETS)]


@pytest.mark.parametrize(
    ("events", "wait"),
    [
        (["start"], SHORT.reservation_seconds + 60),
        (["answer", "start"], LONG.spacing_seconds),
        (["start", "answer"], LONG.spacing_seconds),
        (["start", "failure"], SHORT.reservation_seconds + 60),
    ],
    ids=["a reservation under way", "after an answer", "an answer after the raise", "a failure after the raise"],
)
def test_a_longer_window_that_starts_is_added_to(
    short: Workbench, long: Workbench, events: list[str], wait: float
) -> None:
    query = short.take()
    assert windows(short) == [60]
    for event in events:
        if event == "start":
            start(long)
        elif event == "answer":
            short.write_back.answered(query, answer_to(query, [item("r0")]))
        else:
            short.write_back.failed(query, DeadlineExceeded("no answer"))
            short.run("UPDATE account_states SET backoff_until = NULL")
    assert windows(short) == [120]
    long.take_after(wait)


def test_the_shorter_worker_takes_no_slot_of_a_longer_row_and_leaves_it_as_it_is(
    short: Workbench, long: Workbench
) -> None:
    start(long)
    before = short.rows(BUDGETS)
    short.clock.advance(1_000_000)
    assert short.grants.take(short.slot) is None
    assert short.open_slots() == []
    (found,) = short.maintenance.longer_windows
    assert (found.slot, found.its_window, found.our_window) == (short.slot, 120, 60)
    assert short.rows(BUDGETS) == before
    assert long.open_slots() == long.slots
    assert long.maintenance.longer_windows == []
    assert long.grants.take(long.slot) is not None


def test_a_grant_raises_the_window_of_the_row_that_it_locks(short: Workbench, long: Workbench) -> None:
    query = short.take()
    short.write_back.answered(query, answer_to(query, [item("r0")]))
    short.clock.advance(SHORT.spacing_seconds)
    assert long.grants.take(long.slot) is None
    long.take_after(60)


def test_a_raise_by_a_grant_stays_though_no_order_is_to_be_polled(short: Workbench, long: Workbench) -> None:
    short.clock.advance(1_000)
    short.run("DELETE FROM recharge_orders")
    assert long.grants.take(long.slot) is None
    assert windows(short) == [120]


def test_a_write_back_raises_the_window_of_the_row_that_it_locks(short: Workbench, long: Workbench) -> None:
    start(long)
    long.clock.advance(60)
    query = long.take()
    short.run("UPDATE query_budgets SET window_us = 60000000, wait_us = wait_us - 60000000")
    long.write_back.failed(query, DeadlineExceeded("no answer"))
    assert windows(short) == [120]


def test_a_read_of_open_slots_raises_rows_that_a_shorter_worker_has_begun_since(
    short: Workbench, long: Workbench
) -> None:
    start(long)
    short.run("DELETE FROM query_budgets")
    short.maintenance.prepare(short.slots)
    long.open_slots()
    assert windows(short) == [120]
    long.take_after(LONG.reservation_seconds)


def test_all_rows_of_the_sid_are_raised_also_of_slots_that_only_the_others_have(
    migrated_database_url: str,
) -> None:
    several = Workbench(migrated_database_url, replace(SHORT, slots=3)).open()
    several.add(*(f"r{number}" for number in range(10)))
    one = Workbench(migrated_database_url, LONG, clock=several.clock)
    start(one)
    assert windows(several) == [120] * 3
    several.clock.advance(1_000)
    assert [several.grants.take(slot) for slot in several.slots] == [None] * 3
    several.close()
    one.close()


def test_a_slot_that_a_shorter_worker_begins_has_the_longest_window_of_its_sid(
    short: Workbench, long: Workbench
) -> None:
    start(long)
    several = Workbench(short.url, replace(SHORT, slots=2), clock=short.clock)
    several.maintenance.prepare(several.slots)
    assert windows(short) == [120] * 2
    several.clock.advance(1_000)
    assert several.grants.take(several.slots[1]) is None
    several.close()


def test_another_sids_rows_are_left_as_they_are(short: Workbench, long: Workbench) -> None:
    short.run("UPDATE query_budgets SET account_sid = 'another'")
    before = short.rows(BUDGETS)
    start(long)
    assert short.rows(BUDGETS) == before


@pytest.mark.databases("postgresql", "mariadb")
def test_a_locked_row_delays_no_read_of_open_slots_and_is_raised_later(short: Workbench, long: Workbench) -> None:
    holder = Database(short.url)
    with holder.write() as connection:
        connection.exec_driver_sql("SELECT * FROM query_budgets FOR UPDATE")
        long.open_slots()
        assert windows(short) == [60]
    holder.close()
    long.open_slots()
    assert windows(short) == [120]


def test_many_workers_that_start_at_once_raise_the_window_once(short: Workbench, long: Workbench) -> None:
    short.take()
    with ThreadPoolExecutor(4) as threads:
        for raised in [threads.submit(start, long) for _ in range(4)]:
            raised.result()
    long.take_after(SHORT.reservation_seconds + 60)


def test_a_query_under_way_while_the_window_is_lowered_still_settles_its_orders(
    short: Workbench, long: Workbench
) -> None:
    start(long)
    long.clock.advance(60)
    query = long.take()
    lower_windows(short.database, short.clock, SHORT, {short.slot.account_sid}, 60.0)
    effects = long.write_back.answered(query, answer_to(query, [item(query.ids[0])]))
    assert effects.settled == 1
    assert [row["outcome"] for row in long.rows(QUERIES)] == ["answered"]
    # A worker that still runs with the longer window raises it again.
    long.take_after(LONG.spacing_seconds)
