"""Whether the broker answers and beat sends ticks, by what worker processes have written; and whose turn a slot is."""

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW
from tests.unit.domain.watching.test_monitoring import ago, make_worker, said
from worker.domain.records.accounts import Opening, SlotKey
from worker.domain.records.watching import WorkerRow
from worker.domain.watching.workers import broker_and_beat, goes_first, heard_beat_at, heard_broker_at

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


def opening(number: int = 0, last_token: str = "") -> str:
    slot = SlotKey(account_sid="sid", number=number, app_ids={"default": "app"})
    return Opening(slot=slot, in_seconds=0.0, last_token=last_token).name


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.integers(0, 9), st.text(), st.randoms())
def test_one_of_the_processes_that_know_each_other_goes_first(
    names: list[str], number: int, token: str, order: Random
) -> None:
    # Each has read them in an order of its own.
    assert sum(goes_first(opening(number, token), name, order.sample(names, len(names))) for name in names) == 1


def test_each_process_goes_first_at_about_as_many_slots() -> None:
    first = Counter(name for name in "abcd" for number in range(4000) if goes_first(opening(number), name, "abcd"))
    assert all(900 < count < 1100 for count in first.values())


def test_with_each_query_of_a_slot_another_process_may_go_first() -> None:
    first = Counter(
        name for name in "abcd" for query in range(4000) if goes_first(opening(0, f"{query}"), name, "abcd")
    )
    assert all(900 < count < 1100 for count in first.values())


def test_a_process_that_is_not_among_the_others_goes_first_only_where_there_are_none() -> None:
    assert all(goes_first(opening(number), "new", []) for number in range(9))
    assert not any(goes_first(opening(number), "new", ["a", "b"]) for number in range(9))
