"""The figures of the plots: buckets, the backlog that was, how long orders took."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from worker.domain.monitoring.plots import (
    BUCKET,
    DELAY_LIMITS,
    backlog,
    bucket_starts,
    count_delays,
    count_times,
)
from worker.domain.records.orders import Source

NOW = datetime(2026, 1, 2, 12, 17, 30, tzinfo=UTC)


def test_buckets_begin_on_even_times_and_the_last_one_holds_now() -> None:
    starts = bucket_starts(NOW)
    assert len(starts) == 48
    assert (starts[-1].hour, starts[-1].minute, starts[-1].second) == (12, 0, 0)
    assert {later - earlier for earlier, later in pairwise(starts)} == {BUCKET}
    assert starts[-1] <= NOW < starts[-1] + BUCKET


def test_times_count_in_their_bucket_and_older_ones_nowhere() -> None:
    starts = bucket_starts(NOW)
    times = [
        (starts[0], 1),
        (starts[1] - timedelta(seconds=1), 2),
        (starts[1], 3),
        (starts[0] - timedelta(seconds=1), 50),
        (NOW + timedelta(days=1), 7),
    ]
    counts = count_times(starts, times)
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (3, 3, 7, 13)


def test_the_backlog_of_earlier_follows_from_that_of_now() -> None:
    # 4 at the end of the first bucket; then 6 came and 3 left, then 1 came and 5 left.
    assert backlog(3, came=[9, 6, 1], left=[2, 3, 5]) == [4, 7, 3]


def test_a_backlog_is_never_negative() -> None:
    assert backlog(1, came=[0, 5], left=[0, 0]) == [0, 1]


def test_delays_are_counted_by_source_up_to_each_limit() -> None:
    settled = [
        (0, Source.CALLBACK),
        (59.9, Source.CALLBACK),
        (60, Source.QUERY),
        (10**7, Source.QUERY),
    ]
    counts = count_delays(settled)
    assert counts[Source.CALLBACK][0] == 2
    assert (counts[Source.QUERY][0], counts[Source.QUERY][1], counts[Source.QUERY][-1]) == (0, 1, 1)
    assert len(counts[Source.QUERY]) == len(DELAY_LIMITS) + 1
