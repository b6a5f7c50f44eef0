"""Whether the broker answers and beat sends ticks, by what worker processes have written."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.domain.builders import NOW
from tests.unit.domain.monitoring.test_findings import ago, make_worker, said
from worker.domain.monitoring.worker_processes import broker_and_beat, heard_beat_at, heard_broker_at, intake_findings
from worker.domain.records.monitoring import Level, WorkerRow

WITHIN = timedelta(seconds=30)
OLD = make_worker()
"""Of a release that neither asks the broker nor notes beat's ticks."""


def asking(answered: float | None, *, beat: float | None = 1.0, **fields: Any) -> WorkerRow:
    """A process that asks the broker, with seconds since each."""
    times = {"broker_asked_at": 1.0, "broker_answered_at": answered, "last_beat_at": beat}
    heard: dict[str, Any] = {name: None if age is None else ago(age) for name, age in times.items()}
    return make_worker(**{"written_at": NOW, **heard, **fields})


@pytest.mark.parametrize(
    ("row", "heard"), [(OLD, None), (asking(7), ago(7)), (asking(None, started_at=ago(50)), ago(50))]
)
def test_a_broker_was_heard_when_it_answered_or_else_at_the_start(row: WorkerRow, heard: datetime | None) -> None:
    assert heard_broker_at(row) == heard


@pytest.mark.parametrize(
    ("ages", "words"),
    [
        ([30], None),
        ([31], "the broker has not answered for 31 seconds: no order comes in by tasks"),
        ([40, 50], "the broker has not answered for 40 seconds: no order comes in by tasks"),
        ([None], "the broker has not answered for 100 seconds: no order comes in by tasks"),
        ([2, 40], "the broker has not answered for 40 seconds on host"),
        ([2, None], "the broker has not answered for 100 seconds on host"),
    ],
)
def test_a_broker_that_answers_none_or_not_all_is_said(ages: list[float | None], words: str | None) -> None:
    found = [said(one) for one in broker_and_beat([asking(age, beat=1) for age in ages], NOW, WITHIN)]
    assert found == ([] if words is None else [words])


def test_what_a_process_that_hangs_since_its_row_was_written_heard_is_not_known() -> None:
    hanging = asking(33, beat=33, written_at=ago(4))
    assert list(broker_and_beat([hanging], NOW, WITHIN)) == []


def test_a_release_that_does_not_ask_says_nothing_of_broker_and_beat() -> None:
    assert list(broker_and_beat([OLD], NOW, WITHIN)) == []
    assert heard_beat_at([OLD]) is None
    assert [one.name for one in broker_and_beat([OLD, asking(31)], NOW, WITHIN)] == ["no_broker"]


def test_beat_is_heard_by_any_process_and_by_none_only_since_the_first_one_started() -> None:
    deaf = asking(1, beat=None, started_at=ago(90))
    assert heard_beat_at([deaf, asking(1, beat=4), asking(1, beat=9)]) == ago(4)
    assert heard_beat_at([deaf, asking(1, beat=None, started_at=ago(20))]) == ago(90)


@pytest.mark.parametrize(("age", "is_said"), [(30, False), (31, True)])
def test_a_beat_that_is_not_heard_for_long_is_said(age: float, is_said: bool) -> None:
    words = f"no tick of beat has come for {age} seconds: workers tick by themselves, less often"
    found = [said(one) for one in broker_and_beat([asking(1, beat=age)], NOW, WITHIN)]
    assert found == ([words] if is_said else [])


def reading(
    waiting: int | None = 5, *, empty: float | None = None, taken: float | None = None, **fields: Any
) -> WorkerRow:
    """A process that was told what waits, with seconds since it read nothing, and since a task committed its work."""
    times = {"queue_empty_at": empty, "taken_in_at": taken}
    known: dict[str, Any] = {name: None if age is None else ago(age) for name, age in times.items()}
    return make_worker(**{"orders_waiting": waiting, "written_at": NOW, **known, **fields})


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [
        ([reading()], 100),
        ([reading(started_at=ago(60))], None),
        ([reading(empty=61, taken=70)], 61),
        ([reading(empty=70, taken=61)], 61),
        ([reading(empty=60, taken=70)], None),
        ([reading(empty=70, taken=60)], None),
        # What counts is any process's reading, and any process's task.
        ([reading(), reading(empty=3)], None),
        ([reading(), reading(None, taken=3)], None),
        ([reading(started_at=ago(3)), reading(started_at=ago(300))], 300),
        # The last reading, of a process that still writes its row.
        ([reading(0)], None),
        ([reading(0, written_at=ago(4)), reading(3)], 100),
        ([reading(written_at=ago(21))], None),
        ([reading(None)], None),
        ([OLD], None),
        ([], None),
        # One that was killed had taken something in, or had found nothing to take in.
        ([reading(started_at=ago(20)), reading(written_at=ago(200), empty=205)], 205),
        ([reading(started_at=ago(300)), reading(written_at=ago(40), taken=45)], None),
        # A clock was set back since.
        ([reading(), reading(written_at=ago(-3600), taken=-3590)], 100),
    ],
)
def test_messages_that_wait_at_every_reading_while_no_task_commits_are_critical(
    rows: list[WorkerRow], seconds: int | None
) -> None:
    found = list(intake_findings(rows, NOW))
    assert [one.values["lasts"] for one in found] == ([] if seconds is None else [timedelta(seconds=seconds)])
    assert {one.level for one in found} <= {Level.CRITICAL}


@pytest.mark.parametrize(("age", "is_found"), [(None, False), (60, True), (61, False)])
def test_another_deployment_on_the_same_queues_is_critical_for_a_minute_after_it_was_found(
    age: float | None, is_found: bool
) -> None:
    rows = [make_worker(), make_worker(other_deployment_at=None if age is None else ago(age))]
    found = [(one.name, one.level) for one in intake_findings(rows, NOW)]
    assert found == ([("shared_queues", Level.CRITICAL)] if is_found else [])


def test_the_messages_of_the_last_reading_are_said() -> None:
    (finding,) = intake_findings([reading(9, written_at=ago(5)), reading(1234, empty=90, written_at=ago(1))], NOW)
    assert said(finding) == "nothing has been taken in for 90 seconds, and messages wait: 1,234"
