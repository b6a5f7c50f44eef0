import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from worker.simulator.record import Record


class Clock:
    now = 100.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def record(clock: Clock, *, allowed: int = 1, lines: io.StringIO | None = None) -> Record:
    return Record(
        window_seconds=60,
        queries_per_window=allowed,
        clock=lambda: clock.now,
        wall_clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        lines=lines,
    )


def arrive_at(record: Record, clock: Clock, *times: float, sid: str = "a") -> list[bool]:
    over = []
    for clock.now in times:
        over.append(record.arrive(sid).over_limit)
    return over


def test_an_arrival_within_the_window_is_a_violation(clock: Clock) -> None:
    kept = record(clock)
    assert arrive_at(kept, clock, 100, 159.9) == [False, True]
    (violation,) = kept.violations()
    assert (violation.number, violation.kind) == (2, "limit")
    assert violation.spacing == pytest.approx(59.9)


def test_every_sid_has_a_limit_of_its_own(clock: Clock) -> None:
    kept = record(clock)
    assert arrive_at(kept, clock, 100, sid="a") + arrive_at(kept, clock, 101, sid="b") == [False, False]


@pytest.mark.parametrize(
    ("allowed", "times", "over"),
    [
        (1, (100, 160, 220), [False, False, False]),
        (1, (100, 150, 165), [False, True, True]),
        (3, (100, 130, 131, 159.9, 190, 191.5), [False, False, False, True, False, False]),
    ],
)
def test_every_arrival_counts_over_the_sliding_window(
    clock: Clock, allowed: int, times: tuple[float, ...], over: list[bool]
) -> None:
    assert arrive_at(record(clock, allowed=allowed), clock, *times) == over


def test_the_smallest_spacing_is_that_of_the_limit(clock: Clock) -> None:
    kept = record(clock, allowed=2)
    arrive_at(kept, clock, 100, 101, 170, 175)
    arrive_at(kept, clock, 180, sid="b")
    assert kept.smallest_spacings() == {"a": 70, "b": None}


def test_a_closed_arrival_is_written_as_one_line_of_json(clock: Clock) -> None:
    lines = io.StringIO()
    kept = record(clock, lines=lines)
    arrival = kept.arrive("a")
    assert [one.outcome for one in kept.arrivals()] == ["open"]
    kept.close(replace(arrival, outcome="answered", ids=("1",), id_count=1))
    assert json.loads(lines.getvalue())["ids"] == ["1"]
    assert kept.summary(after=0)["counts"] == {"arrivals": 1, "ids": 1, "violations": 0, "answered": 1}
    assert kept.summary(after=1)["arrivals"] == []
