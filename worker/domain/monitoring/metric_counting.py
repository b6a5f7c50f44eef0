"""Count queries, events and refused input into totals: counters and histograms that restarts and purges do not lower.

Rows are counted in the order of their ids, each once. But ids are committed out of order, and a query's row is written
before the query has ended. So a row is counted two minutes after its time, and counting stops at the first row that is
not ready.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate, takewhile
from typing import TypeVar

from worker.domain.queries.after_failure import says_too_frequent
from worker.domain.records import queries
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Refused
from worker.domain.records.metrics import (
    Counted,
    Cursor,
    EventToCount,
    Labels,
    QueryToCount,
    RejectedToCount,
    TotalKey,
)
from worker.domain.records.orders import OrderState, Source

QUERIES = "reconciler_queries_total"
TOO_FREQUENT = "reconciler_too_frequent_total"
QUERY_DURATION = "reconciler_query_duration_seconds"
QUERY_ORDERS = "reconciler_query_orders"
LAST_QUERY = "reconciler_last_query_timestamp_seconds"
LAST_ANSWER = "reconciler_last_answer_timestamp_seconds"
SETTLEMENTS = "reconciler_settlements_total"
SETTLEMENT_DELAY = "reconciler_settlement_delay_seconds"
REJECTED = "reconciler_rejected_total"

BOUNDS: Mapping[str, tuple[float, ...]] = {
    QUERY_DURATION: (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60),
    QUERY_ORDERS: (1, 5, 10, 25, 50, 75, 90, 99, 100),
    SETTLEMENT_DELAY: (10, 30, 60, 120, 300, 600, 1200, 3600, 7200, 21_600, 43_200, 86_400, 259_200),
}
"""The upper bounds of each histogram's buckets. The last bucket has no bound."""
_IN_FLIGHT, _LOST = "in_flight", "lost"
OUTCOMES = tuple(outcome for outcome in queries.OUTCOMES if outcome != _IN_FLIGHT)
"""The outcomes that are counted. `in_flight` is left out, because a query that is under way is not counted yet."""
FINAL_STATES = tuple(state for state in OrderState if state.is_final)
SETTLING_SOURCES = (Source.QUERY, Source.CALLBACK, Source.OPERATOR)
REJECTING_SOURCES = (
    *("reconciler.enqueue_orders", "reconciler.enqueue_order", "reconciler.record_callbacks"),
    *("reconciler.cancel_orders", "reconciler.check_orders", "reconciler serve", "reconciler enqueue"),
)
"""The sources of input that may be refused."""

COUNTED_AFTER = timedelta(minutes=2)
"""The age at which a row is counted. No transaction lasts this long, so every row with a smaller id is visible."""
_LOST_AFTER = timedelta(minutes=5)
"""If a query has not ended this long after its reservation, its worker is gone and the query counts as lost. Time alone
decides this, because the query's account may have no slot any more."""
_NO_BOUND = "+Inf"

Row = TypeVar("Row", QueryToCount, EventToCount, RejectedToCount)


class _Sums:
    """Totals under construction."""

    def __init__(self) -> None:
        self.added: dict[TotalKey, float] = defaultdict(float)
        self.replaced: dict[TotalKey, float] = {}

    def count(self, name: str, **labels: str) -> None:
        self.added[name, labels_of(**labels)] += 1

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram. The value counts only in the smallest bucket that can hold it."""
        bounds = BOUNDS[name]
        place = bisect_left(bounds, value)
        self.count(f"{name}_bucket", **labels, le=f"{bounds[place]:g}" if place < len(bounds) else _NO_BOUND)
        self.added[f"{name}_sum", labels_of(**labels)] += value

    def counted(self, rows: Sequence[Row], cursor: Cursor) -> Counted:
        if rows:
            latest = max(cursor.counted_at, *(row.at for row in rows))
            cursor = Cursor(counted_id=rows[-1].id, counted_at=latest)
        return Counted(cursor=cursor, added=dict(self.added), replaced=self.replaced, rows=len(rows))


def labels_of(**labels: str) -> Labels:
    """The labels in sorted form, as a part of a total's key."""
    return tuple(sorted(labels.items()))


def count_queries(rows: Iterable[QueryToCount], cursor: Cursor, now: datetime, rules: Rules) -> Counted:
    """Count the queries after the cursor, up to the first one that is too young or may still be under way."""
    lost_after = timedelta(seconds=rules.reservation_seconds) + _LOST_AFTER
    ages = {_IN_FLIGHT: lost_after}
    ready = list(takewhile(lambda row: _is_past(row.at, now, ages.get(row.outcome, COUNTED_AFTER)), rows))
    sums = _Sums()
    for row in ready:
        account = row.account
        outcome = _LOST if row.outcome == _IN_FLIGHT else row.outcome
        sums.count(QUERIES, account=account, outcome=outcome)
        if outcome == Refused.outcome and says_too_frequent(row.status_msg or ""):
            sums.count(TOO_FREQUENT, account=account)
        sums.observe(QUERY_ORDERS, row.order_count, account=account)
        sums.replaced[LAST_QUERY, labels_of(account=account)] = row.at.timestamp()
        if row.answered_at is not None:
            sums.observe(QUERY_DURATION, _seconds(row.at, row.answered_at), account=account)
            if outcome == "answered":
                sums.replaced[LAST_ANSWER, labels_of(account=account)] = row.answered_at.timestamp()
    return sums.counted(ready, cursor)


def count_events(rows: Iterable[EventToCount], cursor: Cursor, now: datetime) -> Counted:
    """Count the settlements among the events after the cursor, up to the first event that is too young."""
    ready = list(takewhile(lambda row: _is_past(row.at, now), rows))
    sums = _Sums()
    for row in ready:
        if row.account is not None and row.to_state is not None and row.submitted_at is not None:
            sums.count(SETTLEMENTS, account=row.account, state=row.to_state.value, source=row.source.value)
            sums.observe(SETTLEMENT_DELAY, _seconds(row.submitted_at, row.at), account=row.account)
    return sums.counted(ready, cursor)


def count_rejected(rows: Iterable[RejectedToCount], cursor: Cursor, now: datetime) -> Counted:
    """Count refused input after the cursor, up to the first row that is too young."""
    ready = list(takewhile(lambda row: _is_past(row.at, now), rows))
    sums = _Sums()
    for row in ready:
        sums.count(REJECTED, source=row.source)
    return sums.counted(ready, cursor)


def cumulated(name: str, counts: Mapping[str, float]) -> list[tuple[str, float]]:
    """The buckets of a histogram as Prometheus wants them: each includes the smaller buckets.

    `counts` holds the total of each bucket, by its upper bound (the label `le`). If a release with other bounds wrote a
    total, it is added to the bucket with the next greater bound.
    """
    bounds = BOUNDS[name]
    each = [0.0] * (len(bounds) + 1)
    for bound, count in counts.items():
        each[bisect_left(bounds, float(bound))] += count
    return list(zip([*(f"{bound:g}" for bound in bounds), _NO_BOUND], accumulate(each), strict=True))


def _is_past(at: datetime, now: datetime, age: timedelta = COUNTED_AFTER) -> bool:
    # If the row's time is more than two minutes in the future, the row was written before a clock was set back.
    return now - at >= age or at - now > COUNTED_AFTER


def _seconds(since: datetime, until: datetime) -> float:
    # The difference is negative if a clock was set back between the two times, or if the submitter's clock is ahead of
    # ours.
    return max(0.0, (until - since).total_seconds())
