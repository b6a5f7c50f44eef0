"""Readings that pages, scrapes and probes share: when they are read again, and what who asks gets meanwhile."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.waiting import eventually
from worker.web.shared_readings import SharedReading

PATIENCE = 5.0


class Readings:
    """Numbers the readings; `gate` holds them back. The clock stands still until the test moves it."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.count = 0
        self.takes = 0.0
        self.fails = False
        self.under_way = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.shared = SharedReading[int | None](
            self._read, otherwise=None, kept_seconds=10, clock=lambda: self.now, **options
        )

    def _read(self) -> int:
        self.count += 1
        self.under_way.set()
        assert self.gate.wait(30)
        self.now += self.takes
        if self.fails:
            raise OSError("away")
        return self.count

    def hold(self, pool: ThreadPoolExecutor) -> Any:
        """Have another thread begin a reading that takes until `gate` is set."""
        self.gate.clear()
        self.under_way.clear()
        first = pool.submit(self.shared.latest, PATIENCE)
        assert self.under_way.wait(10)
        return first


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.mark.parametrize("is_apart", [False, True])
def test_a_result_is_kept_for_a_while_and_then_read_again(is_apart: bool, pool: ThreadPoolExecutor) -> None:
    readings = Readings(**({"begin": pool.submit} if is_apart else {}))
    assert [readings.shared.latest(PATIENCE) for _ in range(3)] == [1, 1, 1]
    readings.now += 9.9
    assert readings.shared.latest(PATIENCE) == 1
    readings.now += 0.1
    assert readings.shared.latest(PATIENCE) == 2


def test_what_took_long_is_kept_for_longer() -> None:
    readings = Readings(share=20)
    readings.takes = 2
    assert readings.shared.latest(PATIENCE) == 1
    readings.now += 37
    assert readings.shared.latest(PATIENCE) == 1
    readings.now += 1
    assert readings.shared.latest(PATIENCE) == 2


def test_what_took_longer_than_it_is_kept_is_what_its_reader_gets() -> None:
    readings = Readings()
    readings.takes = 11
    assert [readings.shared.latest(PATIENCE) for _ in range(2)] == [1, 2]


def test_who_asks_during_a_reading_waits_a_little_for_what_it_finds(pool: ThreadPoolExecutor) -> None:
    readings = Readings()
    first = readings.hold(pool)
    # While it takes longer nobody waits any more, however many ask.
    assert readings.shared.latest(0.01) is None
    readings.now += PATIENCE
    assert readings.shared.latest(PATIENCE) is None
    readings.now -= PATIENCE
    second = pool.submit(readings.shared.latest, PATIENCE)
    readings.gate.set()
    assert (first.result(), second.result(), readings.count) == (1, 1, 1)


@pytest.mark.parametrize(("age", "shown"), [(59.0, 1), (60.0, None)])
def test_an_old_result_is_shown_up_to_its_age_while_a_newer_one_is_read(
    age: float, shown: int | None, pool: ThreadPoolExecutor
) -> None:
    readings = Readings(oldest_seconds=60)
    assert readings.shared.latest(PATIENCE) == 1
    readings.now += age
    first = readings.hold(pool)
    assert readings.shared.latest(0) == shown
    readings.gate.set()
    assert first.result() == 2


def test_an_error_is_not_kept() -> None:
    readings = Readings()
    readings.fails = True
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            readings.shared.latest(PATIENCE)
    readings.fails = False
    assert (readings.shared.latest(PATIENCE), readings.count) == (3, 3)


def test_an_error_that_nobody_waited_for_reaches_the_next_who_asks_and_no_other(pool: ThreadPoolExecutor) -> None:
    readings = Readings(begin=pool.submit, oldest_seconds=60)
    assert readings.shared.latest(PATIENCE) == 1
    readings.now += 10
    readings.fails = True
    readings.gate.clear()
    assert readings.shared.latest(0) == 1
    readings.gate.set()

    def is_told() -> bool:
        try:
            return readings.shared.latest(0) is None
        except OSError:
            return True

    eventually(is_told, "the error")
    readings.fails = False
    eventually(lambda: readings.shared.latest(0) != 1, "a newer result")


def test_an_error_that_is_reported_leaves_the_last_result_for_its_time() -> None:
    errors: list[Exception] = []
    readings = Readings(oldest_seconds=25, report=errors.append)
    assert readings.shared.latest(PATIENCE) == 1
    readings.fails = True
    shown = []
    for _ in range(3):
        readings.now += 10
        # It is not tried again before a result would be.
        shown += [readings.shared.latest(PATIENCE), readings.shared.latest(PATIENCE)]
    assert (shown, len(errors)) == ([1, 1, 1, 1, None, None], 3)
