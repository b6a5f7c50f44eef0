"""What a scrape reads are ranges of indexes: no plan reads a whole table."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from tests.integration.test_schema import ANALYZE, NOON, add, row, steps_of
from worker.database.tables import EVENTS, NOTIFICATIONS, QUERIES
from worker.database.transactions import Database
from worker.domain.records.metrics import Cursor
from worker.domain.records.notifications import EventType, NotificationState
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, OrderState, Source
from worker.domain.records.overview import PendingOrders
from worker.domain.records.reports import IdKind
from worker.stores import metric_counting
from worker.views import counts, metrics

pytestmark = pytest.mark.slow

ROWS = 20_000
MOST = 10_001
TABLES = ("recharge_orders", "order_events", "platform_queries", "notifications")
END = Cursor(counted_id=ROWS - 100, counted_at=NOON)


@pytest.fixture(scope="module")
def database(migrated_module_url: str) -> Iterator[Database]:
    opened = Database(migrated_module_url)
    settled = {"state": OrderState.SUCCEEDED, "settled_by": Source.CALLBACK, "settled_at": NOON}
    add(opened, *(row(str(n), **settled) for n in range(ROWS)))
    add(opened, *(row(f"p{n}", due_at=NOON + timedelta(seconds=n - 50)) for n in range(100)))
    add(opened, *(row(f"a{n}", **settled, attention=Attention.TOO_OLD) for n in range(20)))
    add(opened, *(row(f"u{n}", state=OrderState.UNRESOLVED) for n in range(20)))
    with opened.write() as connection:
        _fill(connection)
    with opened.write() as connection:
        for table in TABLES:
            connection.execute(text(ANALYZE[opened.kind].replace("recharge_orders", table))).close()
    yield opened
    opened.close()


def _fill(connection: Connection) -> None:
    event = {"at": NOON, "kind": EventKind.SETTLED, "source": Source.CALLBACK, "to_state": OrderState.SUCCEEDED}
    query = {
        **{"account": "default", "account_sid": "s", "slot": 0, "work": "batch", "id_kind": IdKind.REQUEST_ID},
        **{"order_count": 1, "sent_at": NOON, "answered_at": NOON, "outcome": "answered", "polled_ids": "1"},
    }
    notification = {
        **{"account": "default", "type": EventType.SUCCEEDED, "version": 1, "rank": 0, "body": "{}", "tries": 1},
        **{"changed_at": NOON, "due_at": NOON},
    }
    states = [NotificationState.DELIVERED] * 198 + [NotificationState.PENDING, NotificationState.GAVE_UP]
    for start in range(1, ROWS + 1, 5_000):
        numbers = range(start, start + 5_000)
        connection.execute(insert(EVENTS), [{**event, "order_id": number} for number in numbers])
        connection.execute(insert(QUERIES), [query] * 5_000)
        rows = [
            {**notification, "order_id": number, "event_id": f"msg_{number}", "state": state, "delivered_at": at}
            for number in numbers
            for state in [states[number % 200]]
            for at in [NOON if state is NotificationState.DELIVERED else None]
        ]
        connection.execute(insert(NOTIFICATIONS), rows)


Read = Callable[[Connection], Any]
READS: dict[str, tuple[Read, str]] = {
    "pending": (lambda connection: counts.pending(connection, ["default", "b"], NOON, MOST), "orders_due"),
    "attention": (lambda connection: counts.attention(connection, MOST), "orders_attention"),
    "unresolved": (lambda connection: counts.unresolved(connection, MOST), "orders_"),
    "notifications": (
        lambda connection: counts.notifications(connection, ["default", "b"], MOST),
        "ix_notifications_due",
    ),
    "last queries": (lambda connection: metrics.last_queries(connection, END.counted_id), ""),
    "queries to count": (lambda connection: metric_counting.next_queries(connection, END, 2_000), ""),
    "events to count": (lambda connection: metric_counting.next_events(connection, END, 50), ""),
}


@pytest.mark.parametrize("name", READS)
def test_no_read_of_a_scrape_reads_a_whole_table(database: Database, name: str) -> None:
    read, index = READS[name]
    steps = steps_of(database, read) + "\n"
    assert index in steps, steps
    for table in TABLES:
        for whole in (f"Seq Scan on {table}", f"SCAN {table}\n", f"{table} ALL", f"{table} index"):
            assert whole not in steps, steps


def test_what_is_read_is_right(database: Database) -> None:
    with database.read() as connection:
        pending = PendingOrders(counts=counts.pending(connection, ["default", "b"], NOON, MOST)["default"])
        attention = counts.attention(connection, MOST)
        unresolved = counts.unresolved(connection, MOST)
        notifications = counts.notifications(connection, ["default", "b"], MOST)["default"]
        events = metric_counting.next_events(connection, END, 2_000)
    assert (pending.pending, pending.due, pending.oldest_due_at) == (100, 51, NOON - timedelta(seconds=50))
    assert attention == {("default", "too_old"): 20}
    assert unresolved == {("default", None): 20}
    assert (notifications.pending, notifications.gave_up, notifications.oldest_changed_at) == (100, 100, NOON)
    assert len(events) == 100
    assert {event.account for event in events} == {"default"}
