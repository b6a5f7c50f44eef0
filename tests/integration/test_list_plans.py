"""No list reads a whole table: the plans of what the commands read, on every database."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from tests.support.plans import NOON, Read, analyze, plans_of, row, whole_tables
from worker.database.tables import ARCHIVED, NOTIFICATIONS, ORDERS, QUERIES, REJECTED, UNMATCHED
from worker.database.transactions import Database
from worker.domain.records.attention import Attention
from worker.domain.records.notifications import EventType, NotificationState
from worker.domain.records.orders import OrderState
from worker.domain.records.reports import IdKind
from worker.stores.notifications import delivered_before, next_delayed, next_unreceived
from worker.stores.purging import ids_in_use, old_archived, old_live, old_queries, old_received
from worker.views import accounts, counts
from worker.views.inbox import (
    recent_rejected,
    recent_unmatched,
)
from worker.views.notifications import (
    long_refused,
    orders_changed_since,
    orders_given_up,
    recent_notifications,
)
from worker.views.order import notifications_of, orders_with_id
from worker.views.orders import OrderSearch, find_orders, search_orders
from worker.views.queries import recent_queries
from worker.views.todo import (
    orders_with_attention,
    unresolved_without_attention,
)

COUNT = 6_000
TABLES = [
    ORDERS,
    ARCHIVED,
    QUERIES,
    REJECTED,
    UNMATCHED,
    NOTIFICATIONS,
]


def submitted(number: int) -> datetime:
    return NOON - timedelta(minutes=number)


def order_row(number: int) -> dict[str, object]:
    """Mostly settled; some pending, and a few that need a person."""
    state = OrderState.UNRESOLVED if number % 500 == 1 else OrderState.SUCCEEDED if number % 10 else OrderState.PENDING
    return row(
        f"r{number:08}",
        custom_parm=f"c{number:08}",
        mobile=f"188{number:08}",
        state=state,
        attention=Attention.AMOUNT_MISMATCH if number % 500 == 2 else None,
        settled_at=submitted(number) if state is OrderState.SUCCEEDED else None,
        **dict.fromkeys(("submitted_at", "due_at", "created_at", "updated_at"), submitted(number)),
    )


def archived_row(number: int) -> dict[str, object]:
    return {
        "id": 1_000_000 + number,
        "account": "default",
        "request_id": f"a{number:08}",
        "custom_parm": f"b{number:08}",
        "state": OrderState.SUCCEEDED,
        "settled_at": submitted(number),
        "archived_at": NOON,
        "record": json.dumps({"order": {"id": 1_000_000 + number}, "events": []}),
        "mobile": f"188{number:08}",
        "submitted_at": submitted(number),
    }


def query_row(number: int) -> dict[str, object]:
    return {
        "account": "default",
        "account_sid": "sid",
        "slot": 0,
        "work": "batch",
        "id_kind": IdKind.REQUEST_ID,
        "order_count": 1,
        "sent_at": NOON - timedelta(minutes=COUNT - number),
        "outcome": "answered",
        "polled_ids": f"r{number:08}",
    }


def rejected_row(number: int) -> dict[str, object]:
    return {"received_at": submitted(number), "source": "reconciler enqueue", "payload": "{}", "errors": "x"}


def unmatched_row(number: int) -> dict[str, object]:
    return {"account": "default", "request_id": f"u{number}", "received_at": submitted(number), "payload": "{}"}


def notification_row(number: int) -> dict[str, object]:
    """Mostly delivered; some wait, and a few were given up."""
    state = NotificationState.GAVE_UP if number % 500 == 1 else NotificationState.DELIVERED
    state = state if number % 100 else NotificationState.PENDING
    return {
        "event_id": f"msg_{number}",
        "account": f"account-{number % 7}",
        "order_id": number,
        "type": EventType.SUCCEEDED,
        "version": 1,
        "rank": 0,
        "body": json.dumps({"data": {"request_id": "r", "custom_parm": None}}),
        "changed_at": submitted(number),
        "state": state,
        "due_at": submitted(number),
        "tries": 1,
        "delivered_at": submitted(number) if state is NotificationState.DELIVERED else None,
    }


MAKERS = dict(
    zip(TABLES, (order_row, archived_row, query_row, rejected_row, unmatched_row, notification_row), strict=True)
)


@pytest.fixture(scope="module")
def database(migrated_module_url: str) -> Iterator[Database]:
    opened = Database(migrated_module_url)
    with opened.write() as connection:
        for table, make in MAKERS.items():
            connection.execute(insert(table), [make(number) for number in range(COUNT)])
    analyze(opened, *map(str, TABLES))
    yield opened
    opened.close()


# Read from their ends, by the row's id, as far as a limit lets it: SQLite has no other word for that.
BY_ROW_ID = ("SCAN platform_queries\n", "SCAN notifications\n")


# The first part of an index alone: this table is smaller than the others would be.
PAGE: dict[str, Any] = {"most": 20, "seconds": 0}


def orders(**wanted: Any) -> Read:
    return lambda connection: find_orders(connection, OrderSearch(**wanted), **PAGE)


READS: dict[str, Read] = {
    "orders": orders(),
    "orders of an account": orders(accounts=["default"]),
    "orders of another account": orders(accounts=["shop"]),
    "orders by state": orders(states=[OrderState.PENDING]),
    "orders by a rare state": orders(states=[OrderState.CANCELLED]),
    "pending orders of an account": orders(states=[OrderState.PENDING], accounts=["default"]),
    "pending orders of another account": orders(states=[OrderState.PENDING], accounts=["shop", "other"]),
    "unresolved orders": orders(states=[OrderState.UNRESOLVED]),
    "unresolved orders of an account": orders(states=[OrderState.UNRESOLVED], accounts=["default"]),
    "orders by attention": orders(attention=[Attention.AMOUNT_MISMATCH]),
    "orders by any attention": orders(attention=list(Attention)),
    "orders by mobile": orders(mobile="18800000077"),
    "orders by prefix": orders(prefix="r0000007"),
    "orders by prefix and state": orders(prefix="c0000007", states=[OrderState.PENDING]),
    "orders by time": orders(since=submitted(3000), until=submitted(2900)),
    "orders with an id": lambda connection: orders_with_id(connection, "r0000007"),
    "orders by any number": lambda connection: search_orders(connection, "7", OrderSearch(), after=None, **PAGE),
    "the next page": lambda connection: find_orders(connection, OrderSearch(), after=100, **PAGE),
    "queries": lambda connection: recent_queries(connection, account=None, outcomes=[], since=None, after=None, **PAGE),
    "queries of an account": lambda connection: recent_queries(
        connection, account="default", outcomes=["lost"], since=submitted(100), after=None, **PAGE
    ),
    "rejected": lambda connection: recent_rejected(connection, after=None, **PAGE),
    "rejected lately": lambda connection: recent_rejected(
        connection, sources=["x"], since=submitted(50), after=None, **PAGE
    ),
    "unmatched": lambda connection: recent_unmatched(connection, after=None, **PAGE),
    "unmatched long ago": lambda connection: recent_unmatched(connection, before=submitted(5900), after=None, **PAGE),
    "todo: attention": lambda connection: orders_with_attention(connection, Attention.TOO_OLD, 5, 10_001),
    "todo: unresolved": lambda connection: unresolved_without_attention(connection, 5, 10_001),
    "todo: accounts": accounts.accounts_with_pending,
    "todo: rejected": lambda connection: counts.rejected_since(connection, submitted(50), 10_001),
    "todo: unmatched": lambda connection: counts.unmatched_before(connection, submitted(5900), 10_001),
    "notifications": lambda connection: recent_notifications(
        connection, account="account-3", state=None, after=None, **PAGE
    ),
    "notifications: pending of one account": lambda connection: recent_notifications(
        connection, account="account-3", state=NotificationState.PENDING, after=COUNT // 2, **PAGE
    ),
    "notifications: pending": lambda connection: recent_notifications(
        connection, account=None, state=NotificationState.PENDING, after=None, **PAGE
    ),
    "notifications: given up": lambda connection: recent_notifications(
        connection, account="account-3", state=NotificationState.GAVE_UP, after=None, **PAGE
    ),
    "notifications: counts": lambda connection: counts.watched_notifications(connection, NOON),
    "todo: refused notifications": lambda connection: long_refused(connection, ["account-3"], NOON, 5, 10_001),
    "all accounts": lambda connection: accounts.known_accounts(connection, with_unreceived=True),
    "notifications: orders given up": lambda connection: orders_given_up(connection, None),
    "notifications: orders changed since": lambda connection: orders_changed_since(connection, submitted(50), None),
    "notifications of orders": lambda connection: notifications_of(connection, 5),
    "notifications: delivered long ago": lambda connection: delivered_before(connection, submitted(5900), 20),
    "notifications: pending of an account": lambda connection: next_unreceived(connection, "account-3", 20),
    "notifications: delayed of an account": lambda connection: next_delayed(connection, "account-3", 0, 20),
    "purge: archived": lambda connection: old_archived(connection, submitted(3000), (submitted(5000), 7), 20),
    "purge: live": lambda connection: old_live(connection, submitted(5000), None, 20),
    "purge: rejected": lambda connection: old_received(connection, REJECTED, submitted(5000), None, 20),
    "purge: queries": lambda connection: old_queries(connection, submitted(3000), 5, 20),
    "purge: ids": lambda connection: ids_in_use(
        connection, [("request_id", "r1"), ("custom_parm", "c1")], but_archived_before=NOON
    ),
}


def test_no_list_reads_a_whole_table(database: Database) -> None:
    read = [
        (name, plan)
        for name, one in READS.items()
        for plan in plans_of(database, one)
        for table in TABLES
        if any(whole in f"{plan}\n" for whole in whole_tables(table) if whole not in BY_ROW_ID)
    ]
    assert not read, "\n".join(f"{name}:\n{plan}" for name, plan in read)


@pytest.mark.databases("postgresql")
def test_the_newest_rows_come_in_the_order_of_an_index(database: Database) -> None:
    for name in ("orders", "orders by a rare state", "the next page", "queries", "rejected", "purge: live"):
        first, *_ = plans_of(database, READS[name])
        # Rows of one moment are sorted by their ids, as far as they are read.
        assert not re.search(r"(?<!Incremental )Sort  \(", first), f"{name}: {first}"


def test_pending_notifications_are_found_by_an_index_that_has_their_state(database: Database) -> None:
    # On MariaDB, which has no partial indexes, that of what was given up has the state first.
    for name in ("notifications: pending", "notifications: pending of one account"):
        first, *_ = plans_of(database, READS[name])
        assert re.search("ix_notifications_(due|gave_up)", first), f"{name}: {first}"


def test_pending_notifications_come_newest_first_a_page_at_a_time(database: Database) -> None:
    with database.read() as connection:
        found: list[int] = []
        while len(found) < 60:
            page = recent_notifications(
                connection, account=None, state=NotificationState.PENDING, after=found[-1] if found else None, most=25
            )
            found += [row["id"] for row in page.rows]
            assert page.rows
        assert found == sorted(found, reverse=True)
        assert len(set(found)) == 60
