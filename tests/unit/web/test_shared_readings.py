"""Readings that pages, scrapes and probes share: when they are read again, and what who asks gets meanwhile."""

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest

from worker.web.shared_readings import Apart, SharedReading

PATIENCE = 60.0


class Readings:
    """Numbers the readings; `gate` holds them back. The clock stands still until the test moves it."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.count = 0
        self.takes = 0.0
        self.error: BaseException | None = None
        self.under_way = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.shared = SharedReading[int | None](
            self._read, otherwise=None, kept_seconds=10, clock=lambda: self.now, **options
        )

    def _read(self) -> int:
        self.count += 1
        self.under_way.set()
        assert self.gate.wait(60)
        self.now += self.takes
        if self.error is not None:
            raise self.error
        return self.count

    def hold(self, pool: ThreadPoolExecutor) -> Any:
        """Have another thread begin a reading that takes until `gate` is set."""
        self.gate.clear()
        self.under_way.clear()
        first = pool.submit(self.shared.latest, PATIENCE)
        assert self.under_way.wait(60)
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
    # While it takes longer no caller waits any more, however many ask.
    assert readings.shared.latest(0.01) is None
    readings.now += PATIENCE
    assert readings.shared.latest(PATIENCE) is None
    readings.now -= PATIENCE
    second = pool.submit(readings.shared.latest, PATIENCE)
    readings.gate.set()
    assert (first.result(), second.result(), readings.count) == (1, 1, 1)


def test_time_in_a_queue_is_no_time_of_reading() -> None:
    queue: list[Callable[[], None]] = []
    readings = Readings(begin=queue.append, share=20)
    assert readings.shared.latest(0) is None
    readings.now += 30
    queue.pop()()
    readings.now += 9.9
    assert (readings.shared.latest(0), queue) == (1, [])
    readings.now += 0.1
    readings.shared.latest(0)
    assert len(queue) == 1


@pytest.mark.parametrize(("seconds", "shown"), [(1.9, 1), (2.0, None)])
def test_the_last_result_holds_a_while_from_the_begin_of_a_reading_however_old(
    seconds: float, shown: int | None, pool: ThreadPoolExecutor
) -> None:
    readings = Readings(held_seconds=2)
    assert readings.shared.latest(PATIENCE) == 1
    readings.now += 3_600
    first = readings.hold(pool)
    readings.now += seconds
    assert readings.shared.latest(0.5) == shown
    readings.gate.set()
    assert first.result() == 2


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
    readings.error = OSError("away")
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            readings.shared.latest(PATIENCE)
    readings.error = None
    assert (readings.shared.latest(PATIENCE), readings.count) == (3, 3)


def test_after_an_error_no_caller_is_shown_an_older_result(pool: ThreadPoolExecutor) -> None:
    readings = Readings(begin=pool.submit, oldest_seconds=math.inf)
    assert readings.shared.latest(PATIENCE) == 1
    readings.now += 3_600
    readings.error = OSError("away")
    readings.gate.clear()
    # So far nothing is wrong.
    assert readings.shared.latest(0) == 1
    readings.gate.set()
    with pytest.raises(OSError, match="away"):
        readings.shared.latest(PATIENCE)
    readings.gate.clear()
    # The next who asks is told, too, for the page that waited may be gone.
    with pytest.raises(OSError, match="away"):
        readings.shared.latest(0)
    assert readings.shared.latest(0) is None
    readings.error = None
    readings.gate.set()
    assert readings.shared.latest(PATIENCE) == readings.count


def test_an_error_that_is_reported_leaves_the_last_result_for_its_time() -> None:
    errors: list[Exception] = []
    readings = Readings(oldest_seconds=25, report=errors.append)
    assert readings.shared.latest(PATIENCE) == 1
    readings.error = OSError("away")
    shown = []
    for seconds in (10, 9.9, 0.1, 4.9, 0.1, 4.9):
        readings.now += seconds
        shown.append(readings.shared.latest(PATIENCE))
    # It is not tried again before a result would be.
    assert (shown, len(errors)) == ([1, 1, 1, 1, None, None], 2)


def test_what_cannot_be_begun_has_failed_and_is_begun_again(pool: ThreadPoolExecutor) -> None:
    begun: list[Callable[[], None]] = []

    def begin(run: Callable[[], None]) -> None:
        begun.append(run)
        if len(begun) == 1:
            raise RuntimeError("can't start new thread")
        pool.submit(run)

    readings = Readings(begin=begin)
    with pytest.raises(RuntimeError, match="thread"):
        readings.shared.latest(PATIENCE)
    # An executor keeps what it had no thread for.
    begun[0]()
    assert readings.shared.latest(PATIENCE) == 2


@pytest.mark.parametrize("is_apart", [False, True])
def test_what_ends_the_thread_that_reads_ends_no_later_reading(is_apart: bool, pool: ThreadPoolExecutor) -> None:
    readings = Readings(**({"begin": pool.submit} if is_apart else {}))
    readings.error = SystemExit()
    with pytest.raises(RuntimeError if is_apart else SystemExit):
        readings.shared.latest(PATIENCE)
    readings.error = None
    assert readings.shared.latest(PATIENCE) == 2


def test_a_report_that_fails_ends_no_later_reading(pool: ThreadPoolExecutor) -> None:
    def report(error: Exception) -> None:
        raise ValueError from error

    readings = Readings(begin=pool.submit, report=report)
    readings.error = OSError()
    assert readings.shared.latest(PATIENCE) is None
    readings.error = None
    readings.now += 10
    assert readings.shared.latest(PATIENCE) == 2


def test_what_is_done_apart_is_done_one_at_a_time_and_left_behind_at_the_end() -> None:
    apart, gate, found = Apart("apart"), threading.Event(), SimpleQueue[bool]()

    def run() -> None:
        found.put(threading.current_thread().daemon)
        assert gate.wait(60)
        found.put(gate.is_set())

    apart.begin(run)
    # The process ends without this thread.
    assert found.get(timeout=60)
    apart.begin(run)
    apart.close(0.01)
    assert found.empty()
    gate.set()
    assert found.get(timeout=60)
    # Of what waited nothing is begun any more.
    apart.close(PATIENCE)
    assert found.empty()
