"""No list reads a whole table: the plans of what the commands read, on every database."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, insert, literal, literal_column, null, select

from tests.support.plans import NOON, Read, add, analyze, notification_row, plans_of, query_row, row, whole_tables
from tests.support.reconciling import Workbench
from worker.database.tables import ACTS, EVENTS, NOTIFICATIONS, ORDERS, QUERIES, REJECTED, UNMATCHED
from worker.database.transactions import Database
from worker.domain.finance.report import Period
from worker.domain.records.notifications import NotificationState
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, OrderState, Source
from worker.stores.notifications import delivered_before, next_delayed, next_unreceived
from worker.stores.purging import deletable_orders, ids_in_use, old_orders, old_queries, old_received
from worker.views import accounts, counts
from worker.views.acts import ActSearch, recent_acts
from worker.views.notifications import (
    long_refused,
    orders_changed_since,
    orders_given_up,
    recent_notifications,
)
from worker.views.order import notifications_of, numbers_of, orders_with_id
from worker.views.orders import ANY_REASON, OrderSearch, count_found, find_orders, search_orders
from worker.views.page import ROWS_AT_ONCE
from worker.views.queries import recent_queries
from worker.views.rejected_and_unmatched import (
    open_rejected_ids,
    recent_rejected,
    recent_unmatched,
    unmatched_with_id,
)
from worker.web.console.todo import orders_to_work_on

COUNT = 6_000
# PostgreSQL's plan sorts more than the rows of one moment.
SORTS = re.compile(r"(?<!Incremental )Sort  \(")
# It has begun an hour before noon, as the clocks of this zone show 01:00 then.
_THERE = timezone(timedelta(hours=13))
LAST_DAY = Period(first=NOON.astimezone(_THERE).date(), last=NOON.astimezone(_THERE).date(), zone=_THERE)


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


def sent_row(number: int) -> dict[str, object]:
    return query_row(sent_at=NOON - timedelta(minutes=COUNT - number), answered_at=None, polled_ids=f"r{number:08}")


def rejected_row(number: int) -> dict[str, object]:
    return {"received_at": submitted(number), "source": "reconciler enqueue", "payload": "{}", "errors": "x"}


def unmatched_row(number: int) -> dict[str, object]:
    return {"account": "default", "request_id": f"u{number}", "received_at": submitted(number), "payload": "{}"}


def event_row(number: int) -> dict[str, object]:
    """Of each order two events: what the platform said, and what it did."""
    return {
        "order_id": number // 2,
        "at": submitted(number),
        "kind": EventKind.REPORTED,
        "source": Source.QUERY,
        "remark": "x" if number % 2 else None,
    }


def told_row(number: int) -> dict[str, object]:
    """Mostly delivered; some wait, and a few were given up."""
    state = NotificationState.GAVE_UP if number % 500 == 1 else NotificationState.DELIVERED
    state = state if number % 100 else NotificationState.PENDING
    body = json.dumps({"data": {"request_id": "r", "custom_parm": None}})
    return notification_row(number, state, submitted(number), account=f"account-{number % 7}", body=body)


def act_row(number: int) -> dict[str, object]:
    """Acts of four rows each."""
    return {
        **{"at": submitted(COUNT - number), "actor": f"a{number % 50}", "act": "dismiss", "account": "default"},
        **{"act_key": f"k{number // 4}", "order_count": 1, "order_ids": str(number)},
    }


MAKERS = {
    ORDERS: order_row,
    QUERIES: sent_row,
    EVENTS: event_row,
    REJECTED: rejected_row,
    UNMATCHED: unmatched_row,
    NOTIFICATIONS: told_row,
    ACTS: act_row,
}


@pytest.fixture(scope="module")
def database(migrated_module_url: str) -> Iterator[Database]:
    opened = Database(migrated_module_url)
    with opened.write() as connection:
        for table, make in MAKERS.items():
            connection.execute(insert(table), [make(number) for number in range(COUNT)])
    analyze(opened, *map(str, MAKERS))
    yield opened
    opened.close()


# Read from their ends, by the row's id, as far as a limit lets it: SQLite has no other word for that.
BY_ROW_ID = ("SCAN platform_queries\n", "SCAN notifications\n")


PAGE: dict[str, Any] = {"most": 20}


def orders(**wanted: Any) -> Read:
    return lambda connection: find_orders(connection, OrderSearch(**wanted), **PAGE)


def acts(**wanted: Any) -> Read:
    return lambda connection: recent_acts(connection, ActSearch(**wanted), **PAGE)


READS: dict[str, Read] = {
    "orders": orders(),
    "orders of an account": orders(accounts=["default"]),
    "orders of another account": orders(accounts=["shop"]),
    "orders by state": orders(states=[OrderState.PENDING]),
    "cancelled orders": orders(states=[OrderState.CANCELLED]),
    "failed orders": orders(states=[OrderState.FAILED]),
    "pending orders of an account": orders(states=[OrderState.PENDING], accounts=["default"]),
    "pending orders of another account": orders(states=[OrderState.PENDING], accounts=["shop", "other"]),
    "cancelled orders of an account": orders(states=[OrderState.CANCELLED], accounts=["shop"]),
    "orders of several states": orders(states=list(OrderState)),
    "orders of several states, within days": orders(states=list(OrderState), since=submitted(3000)),
    "how many orders": lambda connection: count_found(connection, OrderSearch(), 1_001),
    "how many by state": lambda connection: count_found(connection, OrderSearch(states=[OrderState.PENDING]), 10_001),
    "unresolved orders": orders(states=[OrderState.UNRESOLVED]),
    "unresolved orders of an account": orders(states=[OrderState.UNRESOLVED], accounts=["default"]),
    "orders by attention": orders(attention=[Attention.AMOUNT_MISMATCH]),
    "orders by any attention": orders(attention=list(Attention)),
    "the oldest by any attention": orders(attention=list(Attention), is_oldest_first=True),
    "orders by attention after another": lambda connection: find_orders(
        connection, OrderSearch(attention=[Attention.AMOUNT_MISMATCH], since=submitted(5000)), after=1003, **PAGE
    ),
    "orders by any attention, of an account": orders(attention=ANY_REASON, accounts=["shop"]),
    "orders by any attention, by result": orders(attention=ANY_REASON, settled_since=submitted(300)),
    "orders by mobile": orders(mobile="18800000077"),
    "orders by mobile and prefix": orders(mobile="18800000077", prefix="r"),
    "orders by prefix": orders(prefix="r0000007"),
    "orders by prefix and state": orders(prefix="c0000007", states=[OrderState.PENDING]),
    "orders by time": orders(since=submitted(3000), until=submitted(2900)),
    "orders by result": orders(settled_since=submitted(3000), settled_until=submitted(2900)),
    "orders by result, of an account": orders(settled_since=submitted(3000), accounts=["default"]),
    "orders by result and state": orders(settled_since=submitted(300), states=[OrderState.FAILED]),
    "orders by both times": orders(since=submitted(300), until=submitted(200), settled_since=submitted(300)),
    "orders by result, the next page": lambda connection: find_orders(
        # Of a third of a table PostgreSQL would rather read the whole.
        *(connection, OrderSearch(settled_since=submitted(300), settled_until=submitted(50))),
        after=99,
        **PAGE,
    ),
    "orders with an id": lambda connection: orders_with_id(connection, "r0000007"),
    "orders by any number": lambda connection: search_orders(
        connection, "7", OrderSearch(), after=None, seconds=None, **PAGE
    ),
    "orders by four digits": lambda connection: search_orders(
        connection, "0077", OrderSearch(), after=None, seconds=None, **PAGE
    ),
    "unmatched with an id": lambda connection: unmatched_with_id(connection, "u77", 10),
    "rejected that hold a text": lambda connection: recent_rejected(connection, holding="77", after=None, **PAGE),
    "the next page": lambda connection: find_orders(connection, OrderSearch(), after=100, **PAGE),
    "queries": lambda connection: recent_queries(connection, account=None, outcomes=[], since=None, after=None, **PAGE),
    "queries of an account": lambda connection: recent_queries(
        connection, account="default", outcomes=["lost"], since=submitted(100), after=None, **PAGE
    ),
    "rejected": lambda connection: recent_rejected(connection, after=None, **PAGE),
    "rejected that are open": lambda connection: recent_rejected(
        connection, since=submitted(50), only_open=True, after=None, **PAGE
    ),
    "rejected of a day": lambda connection: open_rejected_ids(connection, ["reconciler enqueue"], LAST_DAY),
    "rejected lately": lambda connection: recent_rejected(
        connection, sources=["x"], since=submitted(50), after=None, **PAGE
    ),
    "unmatched": lambda connection: recent_unmatched(connection, after=None, **PAGE),
    "unmatched long ago": lambda connection: recent_unmatched(connection, before=submitted(5900), after=None, **PAGE),
    "work list": lambda connection: orders_to_work_on(
        connection, OrderSearch(attention=ANY_REASON), after=None, **PAGE
    ),
    "work list: unresolved without a reason": lambda connection: orders_to_work_on(
        connection, OrderSearch(attention=[None], since=submitted(5000), is_oldest_first=True), after=None, **PAGE
    ),
    "work list: the next order": lambda connection: orders_to_work_on(
        connection, OrderSearch(attention=ANY_REASON, accounts=["shop"]), after=1003, most=1
    ),
    "work list: how many": lambda connection: count_found(
        connection, OrderSearch(attention=[*Attention, None], accounts=["default"], until=submitted(7)), 10_001
    ),
    "work list: numbers": lambda connection: numbers_of(connection, [5, 1_000_007]),
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
    "all accounts": accounts.known_accounts,
    "notifications: orders given up": lambda connection: orders_given_up(connection, None),
    "notifications: orders changed since": lambda connection: orders_changed_since(connection, submitted(50), None),
    "notifications of orders": lambda connection: notifications_of(connection, 5),
    "notifications: delivered long ago": lambda connection: delivered_before(connection, submitted(5900), 20),
    "notifications: pending of an account": lambda connection: next_unreceived(connection, "account-3", 20),
    "notifications: delayed of an account": lambda connection: next_delayed(connection, "account-3", 0, 20),
    "acts": acts(),
    "acts after another": lambda connection: recent_acts(connection, ActSearch(), after=100, **PAGE),
    "acts of an account": acts(accounts=["shop"]),
    "acts by person and kind": acts(actor="a7", kinds=[ActKind.DISMISS]),
    "acts of a day": acts(since=submitted(50), until=submitted(20)),
    "orders of an act": orders(act_key="k7"),
    "purge: orders": lambda connection: old_orders(connection, submitted(3000), (submitted(5000), 7), 20),
    "purge: which orders may go": lambda connection: deletable_orders(connection, range(1, 21), submitted(3000)),
    "purge: rejected": lambda connection: old_received(connection, REJECTED, submitted(5000), None, 20),
    "purge: queries": lambda connection: old_queries(connection, submitted(3000), 5, 20),
    "purge: ids": lambda connection: ids_in_use(connection, [("request_id", "r1"), ("custom_parm", "c1")]),
}


# No index serves the end of a phone number. If such orders are rare, a database reads the table: a page is bounded in
# time.
UNSERVED = ("orders by four digits",)
# It has no orders: an index that is read to its end may cost as much as the table.
UNSERVED_ON_POSTGRESQL = ("orders of another account",)


def test_no_list_reads_a_whole_table(database: Database) -> None:
    read = [
        (name, plan)
        for name, one in READS.items()
        if name not in UNSERVED and (database.kind != "postgresql" or name not in UNSERVED_ON_POSTGRESQL)
        for plan in plans_of(database, one)
        for table in MAKERS
        if any(whole in f"{plan}\n" for whole in whole_tables(table) if whole not in BY_ROW_ID)
    ]
    assert not read, "\n".join(f"{name}:\n{plan}" for name, plan in read)


@pytest.mark.databases("postgresql")
def test_the_newest_rows_come_in_the_order_of_an_index(database: Database) -> None:
    for name in ("orders", "orders by state", "the next page", "queries", "rejected", "purge: orders"):
        first, *_ = (plan for plan in plans_of(database, READS[name]) if "Limit" in plan)
        # What the parts of a list have found is sorted, as it is no more than a page of each. Rows of one moment are
        # sorted by their ids, as far as they are read.
        assert not SORTS.search(first.split("Append")[-1]), f"{name}: {first}"


@pytest.fixture
def unknown(bench: Workbench) -> Database:
    """20,000 orders of which PostgreSQL has no statistics."""
    add(bench.database, row("r", mobile="18812340804", state=OrderState.FAILED, settled_at=NOON))
    values: dict[str, Any] = {column.name: column for column in ORDERS.c if column.name != "id"}
    values |= {"request_id": literal_column("'r' || number"), "mobile": null()}
    numbers = func.generate_series(1, 20_000).alias("number")
    copies = select(*values.values()).select_from(ORDERS.join(numbers, literal(True)))
    bench.run(insert(ORDERS).from_select(list(values), copies))
    return bench.database


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("most", [51, 1_000])
@pytest.mark.parametrize(
    "wanted",
    [
        OrderSearch(accounts=["default"]),
        OrderSearch(states=[OrderState.SUCCEEDED]),
        OrderSearch(states=[OrderState.FAILED]),
    ],
)
def test_a_list_keeps_the_order_of_its_index_without_statistics(
    unknown: Database, wanted: OrderSearch, most: int
) -> None:
    page = partial(find_orders, wanted=wanted, after=5_000, most=most, seconds=None)
    first, *_ = (plan for plan in plans_of(unknown, page) if "Limit" in plan)
    assert not SORTS.search(first), first


@pytest.mark.databases("postgresql")
def test_few_orders_are_found_by_their_ids_without_statistics(unknown: Database) -> None:
    page = partial(find_orders, wanted=OrderSearch(mobile="18812340804"), most=51, seconds=None)
    plans = plans_of(unknown, page)
    assert not [plan for plan in plans if "ix_recharge_orders_submitted" in plan], plans


def test_orders_of_a_state_are_read_by_the_index_that_has_their_order(database: Database) -> None:
    for name in ("orders by state", "unresolved orders", "cancelled orders", "failed orders"):
        plans = [plan for plan in plans_of(database, READS[name]) if "recharge_orders" in plan]
        assert "ix_recharge_orders_states" in plans[0], f"{name}: {plans[0]}"
    pending = plans_of(database, READS["orders by state"])[0]
    assert not re.search(r"Sort  \(|TEMP B-TREE|filesort", pending), pending


def test_orders_of_a_mobile_are_found_by_it_whatever_their_ids_begin_with(database: Database) -> None:
    plans = plans_of(database, READS["orders by mobile and prefix"])
    assert "orders_mobile" in plans[0], plans[0]
    with database.read() as connection:
        found = find_orders(connection, OrderSearch(mobile="18800000077", prefix="r"), most=20)
        assert [one["request_id"] for one in found.rows] == ["r00000077"]


def test_orders_are_listed_by_the_time_of_their_result_along_its_index(database: Database) -> None:
    for name in ("orders by result", "orders by result, of an account", "orders by result, the next page"):
        plans = [plan for plan in plans_of(database, READS[name]) if re.search(r"(settled|results)(?!.*PRIMARY)", plan)]
        assert plans, name
        whole = [plan for plan in plans if "ix_recharge_orders_results" in plan]
        assert whole == plans, "\n".join(plans)


@pytest.mark.databases("mariadb")
def test_a_complete_list_of_results_is_read_along_their_index(database: Database) -> None:
    wanted = OrderSearch(settled_since=submitted(COUNT), states=[OrderState.PENDING])
    first, *_ = plans_of(database, partial(find_orders, wanted=wanted, most=ROWS_AT_ONCE, seconds=None))
    assert "filesort" not in first, first


def test_orders_that_need_a_person_are_read_by_the_index_that_has_their_order(database: Database) -> None:
    for name in ("orders by attention", "the oldest by any attention", "orders by attention after another"):
        reads = [plan for plan in plans_of(database, READS[name]) if "ix_recharge_orders_todo" in plan]
        assert reads, name
        # The other databases sort once more what they have read in this order; PostgreSQL 15 what the parts have found.
        if database.kind == "postgresql":
            assert not SORTS.search(reads[0].split("Append")[-1]), f"{name}: {reads[0]}"
    *_, last_heard, _ = plans_of(database, READS["work list"])
    assert "ix_order_events_order_id" in last_heard
    assert not re.search("Sort|TEMP B-TREE|filesort", last_heard), last_heard


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
