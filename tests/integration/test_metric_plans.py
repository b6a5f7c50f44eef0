"""What a scrape and `status` count are ranges of indexes: no plan reads a whole table."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert

from tests.support.plans import NOON, Read, add, analyze, notification_row, query_row, row, steps_of, whole_tables
from worker.database.tables import EVENTS, NOTIFICATIONS, QUERIES
from worker.database.transactions import Database
from worker.domain.monitoring.plots import bucket_starts
from worker.domain.records.metrics import Cursor
from worker.domain.records.monitoring import PendingOrders
from worker.domain.records.notifications import NotificationState
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, OrderState, Source
from worker.stores import metric_totals
from worker.views import counts, metrics, plots, status

pytestmark = pytest.mark.slow

ROWS = 20_000
TABLES = ("recharge_orders", "order_events", "platform_queries", "notifications")
END = Cursor(counted_id=ROWS - 100, counted_at=NOON)


@pytest.fixture(scope="module")
def database(migrated_module_url: str) -> Iterator[Database]:
    opened = Database(migrated_module_url)
    settled = {"state": OrderState.SUCCEEDED, "settled_by": Source.CALLBACK, "settled_at": NOON}
    add(opened, *(row(str(n), **settled | {"settled_at": NOON - timedelta(minutes=n)}) for n in range(ROWS)))
    add(opened, *(row(f"p{n}", due_at=NOON + timedelta(seconds=n - 50)) for n in range(100)))
    add(opened, *(row(f"a{n}", **settled, attention=Attention.TOO_OLD) for n in range(20)))
    add(opened, *(row(f"u{n}", state=OrderState.UNRESOLVED) for n in range(20)))
    with opened.write() as connection:
        _fill(connection)
    analyze(opened, *TABLES)
    yield opened
    opened.close()


def _fill(connection: Connection) -> None:
    event = {"at": NOON, "kind": EventKind.SETTLED, "source": Source.CALLBACK, "to_state": OrderState.SUCCEEDED}
    states = [NotificationState.DELIVERED] * 198 + [NotificationState.PENDING, NotificationState.GAVE_UP]
    for start in range(1, ROWS + 1, 5_000):
        numbers = range(start, start + 5_000)
        connection.execute(insert(EVENTS), [{**event, "order_id": number} for number in numbers])
        connection.execute(insert(QUERIES), [query_row()] * 5_000)
        connection.execute(
            insert(NOTIFICATIONS), [notification_row(number, states[number % 200]) for number in numbers]
        )


OF_A_SCRAPE: dict[str, tuple[Read, str]] = {
    "pending": (lambda connection: counts.pending(connection, ["default", "b"], NOON), "orders_due"),
    "attention": (lambda connection: counts.attention(connection, None), "orders_todo"),
    "unresolved": (lambda connection: counts.unresolved(connection, None), "orders_"),
    "notifications": (counts.notifications, "ix_notifications_"),
    "last queries": (lambda connection: metrics.last_queries(connection, END.counted_id), ""),
    "queries to count": (lambda connection: metric_totals.next_queries(connection, END, 2_000), ""),
    "events to count": (lambda connection: metric_totals.next_events(connection, END, 50), ""),
}
STARTS = bucket_starts(NOON)
OF_THE_OVERVIEW: dict[str, tuple[Read, str]] = {
    "settled": (lambda connection: status.count_settled(connection, NOON), "orders_results"),
    "unresolved with reason": (lambda connection: counts.unresolved(connection, 100_000, with_reason=True), "orders_"),
    "plots: submitted": (lambda connection: list(plots.count_submitted(connection, STARTS)), "orders_submitted"),
    "plots: final": (lambda connection: plots.count_final(connection, STARTS), "orders_results"),
    "plots: stopped": (lambda connection: plots.stopped_since(connection, NOON), "orders_changed"),
    "plots: delays": (plots.last_settled, "orders_results"),
}


@pytest.mark.parametrize("name", OF_A_SCRAPE | OF_THE_OVERVIEW)
def test_no_count_reads_a_whole_table(database: Database, name: str) -> None:
    read, index = (OF_A_SCRAPE | OF_THE_OVERVIEW)[name]
    steps = steps_of(database, read) + "\n"
    assert index in steps, steps
    for table in TABLES:
        for whole in (*whole_tables(table), *([f"{table} index"] if name in OF_A_SCRAPE else [])):
            assert whole not in steps, steps


def test_what_is_read_is_right(database: Database) -> None:
    with database.read() as connection:
        pending = PendingOrders(counts=counts.pending(connection, ["default", "b"], NOON)["default"])
        attention = counts.attention(connection, None)
        unresolved = counts.unresolved(connection, None)
        notifications = counts.notifications(connection)["default"]
        events = metric_totals.next_events(connection, END, 2_000)
    assert (pending.pending, pending.due, pending.oldest_due_at) == (100, 51, NOON - timedelta(seconds=50))
    assert attention == {("default", "too_old"): 20}
    assert unresolved == {("default", None): 20}
    assert (notifications.pending, notifications.gave_up, notifications.oldest_changed_at) == (100, 100, NOON)
    assert len(events) == 100
    assert {event.account for event in events} == {"default"}
    with database.read() as connection:
        (count,) = counts.pending(connection, ["default"], NOON)["default"]
        hours, days = status.count_settled(connection, NOON)
        assert counts.attention(connection, 10) == {("default", "too_old"): 10}
        assert counts.unresolved(connection, 100, with_reason=True) == {("default", None): 20}
    assert (count.pending, count.due, count.never_polled) == (100, 51, 100)
    assert (hours["default"]["callback"], days["default"]["callback"]) == (81, 1461)
