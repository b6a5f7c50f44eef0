"""Readings that pages and probes share: when they are read again, and what who asks gets meanwhile."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.support.waiting import eventually
from worker.web.shared_readings import KeptReading, SharedReading

PATIENCE = 5.0


@dataclass
class Clock:
    """Stands still until the test moves it."""

    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_result_is_kept_for_a_while_and_then_read_again(threads: ThreadPoolExecutor) -> None:
    numbers, clock = iter(range(9)), Clock()
    kept = KeptReading(lambda: next(numbers), threads, least_seconds=10, clock=clock)
    assert [kept.latest(PATIENCE) for _ in range(3)] == [0, 0, 0]
    clock.seconds += 9.9
    assert kept.latest(PATIENCE) == 0
    clock.seconds += 0.1
    assert kept.latest(PATIENCE) == 1


def test_what_took_long_is_kept_for_longer(threads: ThreadPoolExecutor) -> None:
    numbers, clock = iter(range(9)), Clock()

    def read() -> int:
        clock.seconds += 2
        return next(numbers)

    kept = KeptReading(read, threads, least_seconds=10, clock=clock)
    assert kept.latest(PATIENCE) == 0
    clock.seconds += 39
    assert kept.latest(PATIENCE) == 0
    clock.seconds += 1
    assert kept.latest(PATIENCE) == 1


def test_nobody_waits_longer_than_they_have_patience(threads: ThreadPoolExecutor) -> None:
    go_on, clock, begun = threading.Event(), Clock(), []

    def read() -> str:
        begun.append(1)
        assert go_on.wait(30)
        return "figures"

    kept = KeptReading(read, threads, least_seconds=10, clock=clock)
    assert [kept.latest(0.01) for _ in range(3)] == [None, None, None]
    go_on.set()
    eventually(lambda: kept.latest(0) == "figures", "the figures")
    assert begun == [1]
    go_on.clear()
    clock.seconds += 10
    # Old figures, rather than none, while new ones are read.
    assert kept.latest(0.01) == "figures"
    go_on.set()


def test_an_error_reaches_who_asks_and_the_next_one_tries_again(threads: ThreadPoolExecutor) -> None:
    errors = [OSError("away")]

    def read() -> int:
        if errors:
            raise errors.pop()
        return 7

    kept = KeptReading(read, threads, least_seconds=10)
    with pytest.raises(OSError, match="away"):
        kept.latest(PATIENCE)
    assert kept.latest(PATIENCE) == 7


class Readings:
    """Counts the readings; `gate` holds them back."""

    def __init__(self) -> None:
        self.now = 100.0
        self.count = 0
        self.fault: str | None = None
        self.under_way = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.shared = SharedReading(self._read, clock=lambda: self.now)

    def _read(self) -> str | None:
        self.count += 1
        self.under_way.set()
        assert self.gate.wait(10)
        if self.fault == "defect":
            raise ValueError(self.fault)
        return self.fault


@pytest.fixture
def readings() -> Readings:
    return Readings()


def test_who_asks_within_a_second_gets_the_same_reading(readings: Readings) -> None:
    assert readings.shared.fault() is None
    readings.fault = "away"
    readings.now += 0.9
    assert (readings.shared.fault(), readings.count) == (None, 1)
    readings.now += 0.2
    assert (readings.shared.fault(), readings.count) == ("away", 2)


def test_while_a_reading_is_under_way_nobody_else_waits_for_it(readings: Readings) -> None:
    assert readings.shared.fault() is None
    readings.now += 2
    readings.gate.clear()
    readings.under_way.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(readings.shared.fault)
        assert readings.under_way.wait(10)
        assert readings.shared.fault() is None
        readings.now += 1.1
        assert readings.shared.fault() == "the database has not answered yet"
        readings.gate.set()
        assert slow.result() is None
    assert readings.count == 2


def test_who_asks_during_the_first_reading_waits_for_what_it_finds(readings: Readings) -> None:
    readings.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(readings.shared.fault)
        assert readings.under_way.wait(10)
        second = pool.submit(readings.shared.fault)
        readings.gate.set()
        assert (first.result(), second.result(), readings.count) == (None, None, 1)


def test_after_a_reading_that_failed_the_database_is_read_again(readings: Readings) -> None:
    readings.fault = "defect"
    with pytest.raises(ValueError, match="defect"):
        readings.shared.fault()
    assert readings.shared.fault() == "the database has not answered yet"
    readings.fault = None
    readings.now += 1
    assert readings.shared.fault() is None


def test_a_reading_may_be_kept_for_longer_and_say_something_else_until_it_is_there() -> None:
    now, gate, under_way = [0.0], threading.Event(), threading.Event()

    def read() -> str | None:
        under_way.set()
        assert gate.wait(10)
        return None

    shared = SharedReading(read, kept_seconds=5, no_answer="not known yet", first_wait_seconds=0, clock=lambda: now[0])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.fault)
        assert under_way.wait(10)
        assert shared.fault() == "not known yet"
        gate.set()
        assert first.result() is None
    gate.clear()
    now[0] = 4.9
    assert shared.fault() is None
