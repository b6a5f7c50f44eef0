"""What probes read of the database is shared by all who ask."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.web.probes import SharedReading


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
