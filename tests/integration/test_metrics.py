"""What `/metrics` shows of what the tables hold, on each database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from tests.support.notifying import put_notifications
from tests.support.reconciling import Workbench, item
from tests.support.scraping import Scraper, count_totals
from tests.support.waiting import eventually
from worker.database.error_kinds import ErrorKind
from worker.database.tables import CUT_OFF, EVENTS, ORDERS, QUERIES, REJECTED, UNMATCHED, WORKERS
from worker.domain.records.notifications import NotificationState
from worker.domain.records.orders import Attention, OrderState
from worker.web.metric_catalogue import CATALOGUE

SETTLED = 'reconciler_settlements_total{account="default",source="query",state="succeeded"}'
ANSWERED = 'reconciler_queries_total{account="default",outcome="answered"}'


@pytest.fixture
def scraper(bench: Workbench) -> Iterator[Scraper]:
    with Scraper(bench.url) as opened:
        yield opened


def age(bench: Workbench, minutes: float = 10) -> None:
    """Let everything that has happened lie so far back."""
    for table, columns in ((QUERIES, ("sent_at", "answered_at")), (EVENTS, ("at",)), (REJECTED, ("received_at",))):
        for row in bench.rows(table):
            moved = {name: row[name] - timedelta(minutes=minutes) for name in columns if row[name] is not None}
            bench.run(update(table).where(table.c.id == row["id"]).values(moved))


def change(bench: Workbench, name: str, **values: Any) -> None:
    bench.run(update(ORDERS).where(ORDERS.c.request_id == name).values(values))


def test_every_metric_appears_with_help_and_type_before_anything_has_happened(
    bench: Workbench, scraper: Scraper
) -> None:
    count_totals(bench.database)
    text = scraper.text()
    for metric in CATALOGUE:
        assert f"# HELP {metric.name} {metric.help}\n" in text
        assert f"# TYPE {metric.name} " in text
    samples = scraper.samples()
    assert samples[ANSWERED] == samples[SETTLED] == samples['reconciler_orders_due{account="default"}'] == 0
    assert samples['reconciler_rejected_total{source="reconciler serve"}'] == 0
    assert samples['reconciler_attention_orders{account="default",reason="too_old"}'] == 0
    assert not [name for name in samples if "timestamp" in name]


def test_gauges_show_what_is_there_now(bench: Workbench, scraper: Scraper) -> None:
    bench.add("r1", "r2", "r3", "r4", "r5")
    due_at = bench.now() - timedelta(minutes=7)
    for name in ("r1", "r2", "r3"):
        change(bench, name, due_at=due_at)
    change(bench, "r2", due_at=due_at + timedelta(hours=1))
    change(bench, "r4", state=OrderState.UNRESOLVED)
    change(bench, "r5", attention=Attention.TOO_OLD, due_at=due_at + timedelta(hours=1))
    bench.put_state(bench.state())
    callback = {"account": "default", "request_id": "x", "received_at": bench.now(), "payload": "{}"}
    bench.run(insert(UNMATCHED), callback, {**callback, "account": "other"})

    samples = scraper.samples()

    assert samples['reconciler_orders_pending{account="default"}'] == 4
    assert samples['reconciler_orders_due{account="default"}'] == 2
    oldest = samples['reconciler_oldest_due_timestamp_seconds{account="default"}']
    assert oldest == pytest.approx(due_at.timestamp(), abs=0.01)
    assert samples['reconciler_unresolved_orders{account="default"}'] == 1
    assert samples['reconciler_attention_orders{account="default",reason="too_old"}'] == 1
    assert samples['reconciler_unmatched_callbacks{account="default"}'] == 1
    assert samples['reconciler_unmatched_callbacks{account="other"}'] == 1
    assert samples['reconciler_account_paused{account="default"}'] == 0
    assert samples['reconciler_notifications_pending{account="default"}'] == 0


def test_of_two_rows_with_one_host_and_process_id_the_later_one_is_shown(bench: Workbench, scraper: Scraper) -> None:
    time = bench.now()
    old = {
        **{
            "name": "a:1:old",
            "host": "a",
            "pid": 1,
            "started_at": time,
            "accounts": "default,third",
            "version": "1.0.0",
        },
        **{"last_tick_at": time - timedelta(minutes=5), "written_at": time - timedelta(minutes=5)},
        "clock_offset_seconds": 9.0,
    }
    new = {**old, "name": "a:1:new", "last_tick_at": time, "written_at": time, "clock_offset_seconds": -0.5}
    new["version"] = "2.0.0"
    unready = {**old, "name": "b:2:x", "host": "b", "pid": 2, "last_tick_at": None, "version": None}
    bench.run(insert(WORKERS), new, old, unready)

    samples = scraper.samples()

    assert samples['reconciler_worker_last_tick_timestamp_seconds{worker="a:1"}'] == pytest.approx(time.timestamp())
    assert samples['reconciler_worker_clock_offset_seconds{worker="a:1"}'] == -0.5
    assert samples['reconciler_worker_clock_offset_seconds{worker="b:2"}'] == 9.0
    assert 'reconciler_worker_last_tick_timestamp_seconds{worker="b:2"}' not in samples
    assert samples['reconciler_orders_due{account="third"}'] == 0
    builds = {name: value for name, value in samples.items() if name.startswith("reconciler_build_info")}
    assert builds == {'reconciler_build_info{version="2.0.0",worker="a:1"}': 1.0}


def test_hosts_of_workers_that_are_cut_off_are_shown_since_when_and_for_what(
    bench: Workbench, scraper: Scraper
) -> None:
    time = bench.now()
    row = {"host": "a", "since": time, "probe_at": time, "why": "", "tries": 0, "answers_before": 0}
    row |= {"is_answered": False, "credentials": ""}
    counted = {**row, "account": "c", "since": None}
    gone = {**row, "host": "gone", "account": ""}
    bench.run(insert(CUT_OFF), {**row, "account": ""}, {**row, "account": "b"}, counted, gone)
    worker = {"name": "1", "pid": 1, "host": "a", "started_at": time, "written_at": time, "clock_offset_seconds": 0.0}
    bench.run(insert(WORKERS), worker)
    name = "reconciler_host_cut_off_timestamp_seconds"
    shown = {key: value for key, value in scraper.samples().items() if key.startswith(name)}
    assert shown == {
        f'{name}{{account="",host="a",reason="not_connected"}}': pytest.approx(time.timestamp()),
        f'{name}{{account="b",host="a",reason="refused"}}': pytest.approx(time.timestamp()),
    }


def test_broker_and_beat_are_shown_as_the_processes_heard_them(bench: Workbench, scraper: Scraper) -> None:
    time = bench.now()
    row = {
        **{"host": "a", "started_at": time - timedelta(hours=1), "accounts": "", "last_tick_at": time},
        **{"written_at": time, "clock_offset_seconds": 0.0, "broker_asked_at": time, "broker_answered_at": None},
    }
    heard = {"broker_answered_at": time - timedelta(seconds=3), "last_beat_at": time - timedelta(seconds=2)}
    rows = [
        {**row, "name": "1", "pid": 1, **heard},
        {**row, "name": "2", "pid": 2, "last_beat_at": None},
        {**row, "name": "3", "pid": 3, "broker_asked_at": None, "last_beat_at": None},
    ]
    bench.run(insert(WORKERS), *rows)

    samples = scraper.samples()

    answer = "reconciler_worker_last_broker_answer_timestamp_seconds"
    shown = {name: value for name, value in samples.items() if name.startswith(answer)}
    assert shown == {
        f'{answer}{{worker="a:1"}}': pytest.approx(heard["broker_answered_at"].timestamp()),
        f'{answer}{{worker="a:2"}}': pytest.approx((time - timedelta(hours=1)).timestamp()),
    }
    assert samples["reconciler_last_beat_timestamp_seconds"] == pytest.approx(heard["last_beat_at"].timestamp())


def test_the_last_reading_of_the_queues_is_shown_and_that_nothing_is_taken_in(
    bench: Workbench, scraper: Scraper
) -> None:
    time = bench.now()
    row = {
        **{"host": "a", "pid": 1, "started_at": time - timedelta(hours=1), "accounts": "", "last_tick_at": time},
        **{"written_at": time, "clock_offset_seconds": 0.0, "orders_waiting": 7, "ticks_waiting": 0},
    }
    killed = {**row, "name": "killed", "written_at": time - timedelta(minutes=1), "orders_waiting": 9}
    may_not_ask = {**row, "name": "may not ask", "orders_waiting": None, "ticks_waiting": None}
    bench.run(insert(WORKERS), {**row, "name": "able"}, may_not_ask, killed)
    samples = scraper.samples()
    queues = {name: value for name, value in samples.items() if name.startswith("reconciler_queue_messages")}
    assert queues == {
        'reconciler_queue_messages{queue="reconciler.orders"}': 7,
        'reconciler_queue_messages{queue="reconciler.ticks"}': 0,
    }
    assert samples['reconciler_finding{name="nothing_taken_in"}'] == 1
    assert samples['reconciler_finding{name="shared_queues"}'] == 0

    bench.run(update(WORKERS).where(WORKERS.c.name == "killed").values(taken_in_at=time, other_deployment_at=time))
    scraper.clock.seconds += 16
    samples = scraper.samples()
    assert samples['reconciler_finding{name="nothing_taken_in"}'] == 0
    assert samples['reconciler_finding{name="shared_queues"}'] == 1

    bench.run(update(WORKERS).values(orders_waiting=None, ticks_waiting=None))
    scraper.clock.seconds += 16
    assert not [name for name in scraper.samples() if name.startswith("reconciler_queue_messages")]


def test_queries_and_settlements_are_counted_once_they_are_two_minutes_old(bench: Workbench, scraper: Scraper) -> None:
    bench.add("r1", "r2", age_seconds=700)
    bench.reconcile([item("r1"), item("r2")])
    count_totals(bench.database)
    samples = scraper.samples()
    assert (samples[ANSWERED], samples[SETTLED]) == (0, 0)
    last = samples['reconciler_last_answer_timestamp_seconds{account="default"}']
    assert last == pytest.approx(bench.now().timestamp(), abs=20)

    age(bench)
    count_totals(bench.database)
    scraper.clock.seconds += 16
    samples = scraper.samples()
    assert (samples[ANSWERED], samples[SETTLED]) == (1, 2)
    assert samples['reconciler_query_orders_bucket{account="default",le="1"}'] == 0
    assert samples['reconciler_query_orders_bucket{account="default",le="5"}'] == 1
    assert samples['reconciler_query_orders_sum{account="default"}'] == 2
    assert samples['reconciler_query_duration_seconds_count{account="default"}'] == 1
    assert samples['reconciler_settlement_delay_seconds_count{account="default"}'] == 2
    assert samples['reconciler_last_answer_timestamp_seconds{account="default"}'] == pytest.approx(last - 600, abs=0.01)


def test_an_account_that_no_worker_has_is_shown_once_it_has_pending_orders_or_unreceived_notifications(
    bench: Workbench, scraper: Scraper
) -> None:
    bench.add("r1")
    bench.run("UPDATE recharge_orders SET account = 'stranger'")
    put_notifications(bench, 2, account="left")
    put_notifications(bench, 3, account="refused", state=NotificationState.GAVE_UP)
    put_notifications(bench, 1, account="told", state=NotificationState.DELIVERED)

    def found() -> dict[str, float] | None:
        scraper.clock.seconds += 16
        samples = scraper.samples()
        return samples if 'reconciler_orders_pending{account="stranger"}' in samples else None

    samples = eventually(found, "the stranger's orders") or {}
    assert samples['reconciler_orders_pending{account="stranger"}'] == 1
    assert samples['reconciler_notifications_pending{account="left"}'] == 2
    assert samples['reconciler_notifications_gave_up{account="refused"}'] == 3
    assert 'reconciler_notifications_pending{account="told"}' not in samples


def test_while_the_database_is_away_one_line_says_so() -> None:
    with Scraper("postgresql+psycopg://user:sesame-street@127.0.0.1:9/reconciler") as scraper:
        answer = scraper.client.get("/metrics")
    assert (answer.status_code, answer.text) == (503, "the database is away\n")


@pytest.mark.slow
@pytest.mark.databases("postgresql")
def test_while_the_database_keeps_silent_every_scrape_ends_soon(bench: Workbench) -> None:
    with Scraper(bench.url) as scraper:
        with bench.database.write() as connection, ThreadPoolExecutor(4) as pool:
            connection.exec_driver_sql("LOCK TABLE account_states IN ACCESS EXCLUSIVE MODE")
            answers = [one.result() for one in [pool.submit(scraper.client.get, "/metrics") for _ in range(4)]]
        assert {answer.status_code for answer in answers} == {503}
        # Ended by the scrape's patience, or by the statement's; a lock that is waited for to the end has other words.
        words = {"the database has not answered yet\n", f"{ErrorKind.OTHER.words}\n"}
        assert {answer.text for answer in answers} <= words
        assert scraper.samples()


@pytest.mark.slow
@pytest.mark.databases("postgresql")
def test_scrapes_that_have_gauges_do_not_take_every_connection_of_a_silent_database(bench: Workbench) -> None:
    with Scraper(bench.url) as scraper:
        assert scraper.samples()
        with bench.database.write() as connection, ThreadPoolExecutor(4) as pool:
            connection.exec_driver_sql("LOCK TABLE metric_cursors IN ACCESS EXCLUSIVE MODE")
            waiting = [pool.submit(scraper.client.get, "/metrics") for _ in range(4)]
            eventually(lambda: sum(one.done() for one in waiting) >= 3, "three that end before the first")
            with scraper.database.read() as other:
                scraper.database.now(other)
        assert "the database has not answered yet\n" in {one.result().text for one in waiting}


@pytest.mark.databases("postgresql", "mariadb")
def test_a_database_that_was_migrated_away_is_no_defect_of_the_program(bench: Workbench) -> None:
    with Scraper(bench.url) as scraper:
        bench.run("DROP TABLE metric_cursors")
        answer = scraper.client.get("/metrics")
    assert (answer.status_code, answer.text) == (503, "the database is not at a revision that this release can read\n")


def test_openmetrics_is_written_where_a_scraper_prefers_it(scraper: Scraper) -> None:
    wanted = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"}
    answer = scraper.client.get("/metrics", headers=wanted)
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert scraper.client.get("/metrics").content_type.startswith("text/plain; version=0.0.4")
