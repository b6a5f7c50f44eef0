"""Readings that pages share: when they are read again, and what a page gets meanwhile."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.support.waiting import eventually
from worker.web.console.kept_readings import KeptReading

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
