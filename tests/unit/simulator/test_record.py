import json
from dataclasses import replace
from pathlib import Path

import pytest

from worker.simulator.record import Record


class Clock:
    now = 100.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def record(clock: Clock, *, allowed: int = 1, path: Path | None = None) -> Record:
    return Record(window_seconds=60, queries_per_window=allowed, clock=lambda: clock.now, path=path)


def arrive_at(record: Record, clock: Clock, *times: float, sid: str = "a") -> list[bool]:
    over = []
    for clock.now in times:
        over.append(record.arrive(sid).violations == ("limit",))
    return over


def test_every_sid_has_a_limit_of_its_own(clock: Clock) -> None:
    kept = record(clock)
    assert arrive_at(kept, clock, 100, sid="a") + arrive_at(kept, clock, 101, sid="b") == [False, False]


@pytest.mark.parametrize(
    ("allowed", "times", "over"),
    [
        (1, (100, 160, 219.9), [False, False, True]),
        (1, (100, 150, 165), [False, True, True]),
        (3, (100, 130, 131, 159.9, 190, 191.5), [False, False, False, True, False, False]),
    ],
)
def test_every_arrival_counts_over_the_sliding_window(
    clock: Clock, allowed: int, times: tuple[float, ...], over: list[bool]
) -> None:
    kept = record(clock, allowed=allowed)
    assert arrive_at(kept, clock, *times) == over
    late = [number for number, is_over in enumerate(over, start=1) if is_over]
    assert kept.violations() == [{"number": number, "sid": "a", "kind": "limit"} for number in late]


def test_the_smallest_spacing_is_that_of_the_limit(clock: Clock) -> None:
    kept = record(clock, allowed=2)
    arrive_at(kept, clock, 100, 101, 170, 175)
    arrive_at(kept, clock, 180, sid="b")
    assert kept.smallest_spacings() == {"a": 70, "b": None}


def test_a_closed_arrival_is_written_as_one_line_of_json(clock: Clock, tmp_path: Path) -> None:
    kept = record(clock, path=tmp_path / "record.jsonl")
    arrival = kept.arrive("a")
    assert [one.outcome for one in kept.arrivals()] == ["open"]
    kept.close(replace(arrival, outcome="answered", ids=("1",)))
    assert json.loads((tmp_path / "record.jsonl").read_text())["ids"] == ["1"]
