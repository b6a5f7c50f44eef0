"""What is counted into the totals of the metrics, and when."""

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.domain.monitoring import metric_counting
from worker.domain.monitoring.metric_counting import (
    BOUNDS,
    QUERY_DURATION,
    REJECTING_SOURCES,
    SETTLEMENT_DELAY,
    count_events,
    count_queries,
    count_rejected,
    cumulated,
    labels_of,
)
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import QueryError
from worker.domain.records.metrics import Counted, Cursor, EventToCount, QueryToCount, RejectedToCount
from worker.domain.records.orders import OrderState, Source
from worker.operations.record_callbacks import SOURCE
from worker.process.intake import Intake

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
OLD = NOON - timedelta(minutes=3)
START = Cursor(counted_id=10, counted_at=OLD - timedelta(days=1))
RULES = Rules()
DEFAULT = labels_of(account="default")


def query(number: int, outcome: str = "answered", at: datetime = OLD, **changes: Any) -> QueryToCount:
    answered_at = at + timedelta(seconds=2) if outcome == "answered" else None
    values = {"account": "default", "order_count": 100, "answered_at": answered_at, "status_msg": None, **changes}
    return QueryToCount(id=number, at=at, outcome=outcome, **values)


def counted(*rows: QueryToCount) -> Counted:
    return count_queries(rows, START, NOON, RULES)


def of_outcome(found: Counted, outcome: str) -> float:
    return found.added.get(("reconciler_queries_total", labels_of(account="default", outcome=outcome)), 0)


def test_a_query_is_counted_with_its_outcome_its_duration_and_its_orders() -> None:
    found = counted(query(11), query(12, "timeout"))
    assert (of_outcome(found, "answered"), of_outcome(found, "timeout")) == (1, 1)
    assert found.added["reconciler_query_duration_seconds_bucket", labels_of(account="default", le="2.5")] == 1
    assert found.added["reconciler_query_duration_seconds_sum", DEFAULT] == 2
    assert found.added["reconciler_query_orders_bucket", labels_of(account="default", le="100")] == 2
    assert found.cursor == Cursor(counted_id=12, counted_at=OLD)
    assert found.rows == 2


def test_the_newest_query_decides_what_the_last_one_was() -> None:
    later = OLD + timedelta(seconds=30)
    refused = query(12, "refused", answered_at=OLD + timedelta(seconds=9))
    found = counted(query(11, at=later), refused, query(13, "unreachable"))
    # By its id: the clock was set back in between.
    assert found.replaced["reconciler_last_query_timestamp_seconds", DEFAULT] == OLD.timestamp()
    assert found.replaced["reconciler_last_answer_timestamp_seconds", DEFAULT] == later.timestamp() + 2
    assert found.cursor.counted_at == later


@pytest.mark.parametrize(
    ("outcome", "words", "times"),
    [("refused", "查询过于频繁", 1), ("refused", "no such app", 0), ("refused", None, 0), ("http_error", "频繁", 0)],
)
def test_a_refusal_that_names_the_frequency_is_counted_apart(outcome: str, words: str | None, times: int) -> None:
    found = counted(query(11, outcome, status_msg=words))
    assert found.added.get(("reconciler_too_frequent_total", DEFAULT), 0) == times


def test_counting_stops_at_the_first_query_that_is_too_young() -> None:
    found = counted(query(11), query(12, at=NOON - timedelta(seconds=119)), query(13))
    assert found.cursor.counted_id == 11
    nothing = counted(query(12, at=NOON))
    assert (nothing.rows, nothing.cursor, nothing.added) == (0, START, {})


def test_a_time_that_lies_ahead_is_old_as_the_clock_was_set_back() -> None:
    assert counted(query(11, at=NOON + timedelta(hours=1))).rows == 1
    assert counted(query(11, at=NOON + timedelta(minutes=1))).rows == 0


def test_a_query_that_is_under_way_stops_the_count_until_it_is_lost() -> None:
    under_way = query(11, "in_flight", NOON - timedelta(minutes=6))
    assert counted(under_way, query(12)).rows == 0
    lost = counted(query(11, "in_flight", NOON - timedelta(minutes=7)), query(12))
    assert (lost.rows, of_outcome(lost, "lost"), of_outcome(lost, "in_flight")) == (2, 1, 0)


def test_an_answer_from_before_its_query_took_no_time() -> None:
    found = counted(query(11, answered_at=OLD - timedelta(hours=1)))
    assert found.added["reconciler_query_duration_seconds_sum", DEFAULT] == 0
    assert found.added["reconciler_query_duration_seconds_bucket", labels_of(account="default", le="0.1")] == 1


def event(number: int, at: datetime = OLD, **changes: Any) -> EventToCount:
    values = {"account": "default", "to_state": OrderState.SUCCEEDED, "submitted_at": at - timedelta(hours=1)}
    return EventToCount(id=number, at=at, source=Source.CALLBACK, **{**values, **changes})


def test_a_settlement_is_counted_with_its_state_its_source_and_its_delay() -> None:
    found = count_events([event(11), event(12), event(13, NOON)], START, NOON)
    key = labels_of(account="default", source="callback", state="succeeded")
    assert found.added["reconciler_settlements_total", key] == 2
    assert found.added["reconciler_settlement_delay_seconds_bucket", labels_of(account="default", le="3600")] == 2
    assert found.added["reconciler_settlement_delay_seconds_sum", DEFAULT] == 7200
    assert found.cursor.counted_id == 12


def test_an_event_that_settles_nothing_is_passed() -> None:
    found = count_events([event(11, account=None, submitted_at=None)], START, NOON)
    assert (found.added, found.cursor.counted_id) == ({}, 11)


def test_refused_input_is_counted_by_its_source() -> None:
    rows = [RejectedToCount(id=number, at=at, source="reconciler serve") for number, at in ((11, OLD), (12, NOON))]
    found = count_rejected(rows, START, NOON)
    assert found.added == {("reconciler_rejected_total", labels_of(source="reconciler serve")): 1}
    assert found.cursor.counted_id == 11


def test_every_bucket_holds_the_smaller_ones_too() -> None:
    found = dict(cumulated(QUERY_DURATION, {"0.1": 2, "1": 3, "+Inf": 4}))
    assert (found["0.1"], found["0.5"], found["1"], found["60"], found["+Inf"]) == (2, 2, 5, 5, 9)
    assert len(found) == len(BOUNDS[QUERY_DURATION]) + 1


def test_a_bucket_of_a_release_with_other_bounds_is_counted_in_the_next_greater_one() -> None:
    found = dict(cumulated(SETTLEMENT_DELAY, {"45": 1, "500000": 1}))
    assert (found["30"], found["60"], found["259200"], found["+Inf"]) == (0, 1, 1, 2)


def test_every_outcome_and_every_source_of_refused_input_is_known_from_the_start() -> None:
    failures = {one.outcome for one in QueryError.__subclasses__()}
    assert set(metric_counting.OUTCOMES) == {"answered", "lost", *failures}
    methods = [method for _, method in inspect.getmembers(Intake, inspect.isfunction)]
    given = [inspect.signature(method).parameters.get("source") for method in methods]
    defaults = {one.default for one in given if one is not None and isinstance(one.default, str)}
    assert {*defaults, "reconciler.enqueue_order", "reconciler enqueue", SOURCE} == set(REJECTING_SOURCES)
