"""Totals of the metrics: each row is counted once, by any number of processes, and nothing lowers what was counted."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, insert, select, update

from tests.support.plans import query_row
from tests.support.reconciling import Workbench
from tests.support.scraping import Scraper, Seconds, count_totals
from tests.support.settled_orders import a_purge, add_newest
from worker.database.tables import EVENTS, ORDERS, QUERIES, REJECTED
from worker.database.transactions import Database
from worker.domain.monitoring.metric_counting import labels_of
from worker.domain.records.accounts import Rules
from worker.domain.records.metrics import Stream
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import OrderState, Source
from worker.operations.purge import purge, purge_orders
from worker.operations.upkeep import MOST_COUNTED, MetricCounting, count_further
from worker.views.metrics import Totals, read_totals

SERVE = ("reconciler_rejected_total", labels_of(source="reconciler serve"))
SERVE_SAMPLE = 'reconciler_rejected_total{source="reconciler serve"}'
ANSWERED_SAMPLE = 'reconciler_queries_total{account="default",outcome="answered"}'
LOST_SAMPLE = 'reconciler_queries_total{account="default",outcome="lost"}'
SETTLED_SAMPLE = 'reconciler_settlements_total{account="default",source="callback",state="succeeded"}'
LAST_ANSWER_SAMPLE = 'reconciler_last_answer_timestamp_seconds{account="default"}'
RULES = Rules()


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def scrapers(bench: Workbench, clock: Seconds) -> Iterator[list[Scraper]]:
    """Two processes of one program."""
    with Scraper(bench.url, clock=clock) as first, Scraper(bench.url, clock=clock) as second:
        yield [first, second]


def long_ago(bench: Workbench, **ago: float) -> datetime:
    return bench.now() - timedelta(**(ago or {"minutes": 10}))


def refuse(bench: Workbench, count: int, at: datetime) -> None:
    row = {"received_at": at, "source": "reconciler serve", "payload": "{}", "errors": "no"}
    bench.run(insert(REJECTED), *([row] * count))


def put_queries(bench: Workbench, outcomes: Sequence[str], at: datetime) -> None:
    for outcome in outcomes:
        answered_at = at + timedelta(seconds=1) if outcome == "answered" else None
        sent = query_row(order_count=2, sent_at=at, outcome=outcome, polled_ids="gone,too", answered_at=answered_at)
        bench.run(insert(QUERIES), sent)


def settle(bench: Workbench, *names: str, at: datetime) -> None:
    bench.add(*names, age_seconds=3600)
    for name in names:
        order = bench.order(name)
        final = {"state": OrderState.SUCCEEDED, "settled_at": at, "settled_by": Source.CALLBACK, "updated_at": at}
        event = {
            **{"order_id": order.id, "at": at, "kind": EventKind.SETTLED, "source": Source.CALLBACK},
            "to_state": OrderState.SUCCEEDED,
        }
        bench.run(update(ORDERS).where(ORDERS.c.id == order.id).values({**final, "submitted_at": at}))
        bench.run(insert(EVENTS), {**event, "kind": EventKind.REPORTED, "to_state": None}, event)


def count_all(url: str, stream: Stream, most: int) -> int:
    """Count until nothing is left, as one process; returns how many steps it took."""
    database = Database(url)
    steps = 1
    try:
        while not count_further(database, stream, RULES, most=most):
            steps += 1
    finally:
        database.close()
    return steps


def counted(bench: Workbench) -> Totals:
    """The totals, and how far they were counted."""
    return read_totals(bench.database, Totals(values={}, cursors={}))


def test_processes_that_count_at_once_count_each_row_once(bench: Workbench) -> None:
    refuse(bench, 300, long_ago(bench))
    put_queries(bench, ["answered", "timeout", "in_flight"] * 50, long_ago(bench))
    with ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(count_all, bench.url, stream, 7) for stream in Stream for _ in range(2)]
        assert all(one.result() for one in tries)
    values = counted(bench).values
    assert values[SERVE] == 300
    for outcome in ("answered", "timeout", "lost"):
        assert values["reconciler_queries_total", labels_of(account="default", outcome=outcome)] == 50
    assert values["reconciler_query_orders_sum", labels_of(account="default")] == 300


def test_whichever_process_answers_a_counter_never_falls(
    bench: Workbench, scrapers: list[Scraper], clock: Seconds
) -> None:
    seen = [0.0]
    for number in range(8):
        refuse(bench, 3, long_ago(bench))
        count_totals(bench.database)
        # Each process reads gauges again every 15 seconds, and they are asked in turns.
        clock.seconds += 9
        seen.append(scrapers[number % 2].samples()[SERVE_SAMPLE])
    assert seen == sorted(seen)
    assert scrapers[0].samples()[SERVE_SAMPLE] == scrapers[1].samples()[SERVE_SAMPLE] == 24
    # What was counted is shown at once, however young the gauges are.
    refuse(bench, 1, long_ago(bench))
    count_totals(bench.database)
    assert scrapers[0].samples()[SERVE_SAMPLE] == scrapers[1].samples()[SERVE_SAMPLE] == 25


def test_a_scrape_counts_nothing(bench: Workbench, scrapers: list[Scraper], clock: Seconds) -> None:
    refuse(bench, 3, long_ago(bench))
    count_totals(bench.database)
    refuse(bench, 2, long_ago(bench))
    before = counted(bench)
    for _ in range(2):
        clock.seconds += 60
        assert scrapers[0].samples()[SERVE_SAMPLE] == 3
    assert counted(bench) == before


def test_a_total_has_no_sample_before_a_tick_has_counted(bench: Workbench, scrapers: list[Scraper]) -> None:
    refuse(bench, 3, long_ago(bench))
    first = scrapers[0].samples()
    assert not [name for name in (SERVE_SAMPLE, ANSWERED_SAMPLE, SETTLED_SAMPLE) if name in first]
    count_totals(bench.database)
    samples = scrapers[0].samples()
    assert (samples[SERVE_SAMPLE], samples[ANSWERED_SAMPLE], samples[SETTLED_SAMPLE]) == (3, 0, 0)


def test_counting_begins_with_the_newest_rows_all_of_which_are_shown_at_once(
    bench: Workbench, scrapers: list[Scraper]
) -> None:
    refuse(bench, MOST_COUNTED + 500, long_ago(bench))
    count_totals(bench.database)
    assert scrapers[0].samples()[SERVE_SAMPLE] == MOST_COUNTED
    refuse(bench, MOST_COUNTED + 500, long_ago(bench))
    counting = MetricCounting(bench.database, RULES)
    counting.count_some()
    assert scrapers[0].samples()[SERVE_SAMPLE] == 2 * MOST_COUNTED
    # It has not caught up, so the next tick continues; then it rests.
    for _ in range(2):
        counting.count_some()
        assert scrapers[0].samples()[SERVE_SAMPLE] == 2 * MOST_COUNTED + 500
        refuse(bench, 1, long_ago(bench))


def test_neither_a_purge_nor_a_restart_lowers_anything(bench: Workbench) -> None:
    at = long_ago(bench, days=400)
    settle(bench, "r1", "r2", "r3", at=at)
    put_queries(bench, ["answered", "unreachable", "lost"], at)
    put_queries(bench, ["timeout"], at)
    refuse(bench, 5, at)
    names = (SERVE_SAMPLE, ANSWERED_SAMPLE, LOST_SAMPLE, SETTLED_SAMPLE, LAST_ANSWER_SAMPLE)

    def scraped() -> dict[str, float]:
        count_totals(bench.database)
        with Scraper(bench.url) as scraper:
            samples = scraper.samples()
        return {name: samples[name] for name in names} | {
            name: value for name, value in samples.items() if "_bucket" in name or "_sum" in name
        }

    before = scraped()
    assert [before[name] for name in names[:4]] == [5, 1, 1, 3]
    assert before[LAST_ANSWER_SAMPLE] == pytest.approx(at.timestamp() + 1, abs=0.01)

    add_newest(bench)
    assert sum(one.rows for one in purge_orders(bench.database, long_ago(bench, days=30), a_purge())) == 3
    purged = {one.table: one.rows for one in purge(bench.database, long_ago(bench, days=30), a_purge())}
    assert purged["platform_queries"] == 3
    assert purged["rejected_orders"] == 5
    assert scraped() == before

    # Many failures later, the last answer is known all the same.
    put_queries(bench, ["timeout"] * 50, long_ago(bench, days=1))
    assert scraped()[LAST_ANSWER_SAMPLE] == before[LAST_ANSWER_SAMPLE]


@pytest.mark.databases("sqlite")
def test_rows_that_come_after_deleted_ones_are_counted(bench: Workbench) -> None:
    refuse(bench, 3, long_ago(bench, minutes=30))
    assert count_further(bench.database, Stream.REJECTED, RULES)
    bench.run(delete(REJECTED).where(REJECTED.c.id >= 2))
    refuse(bench, 4, long_ago(bench, minutes=20))
    with bench.database.read() as connection:
        assert connection.scalars(select(REJECTED.c.id)).all() == [1, 4, 5, 6, 7]
    assert count_further(bench.database, Stream.REJECTED, RULES)
    assert count_further(bench.database, Stream.REJECTED, RULES)
    assert counted(bench).values[SERVE] == 7


def test_gauges_are_shared_for_fifteen_seconds(bench: Workbench, scrapers: list[Scraper], clock: Seconds) -> None:
    pending = 'reconciler_orders_pending{account="default"}'
    assert scrapers[0].samples()[pending] == 0
    bench.add("r1")
    clock.seconds += 14
    assert scrapers[0].samples()[pending] == 0
    clock.seconds += 2
    assert scrapers[0].samples()[pending] == 1
