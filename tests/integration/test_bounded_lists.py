"""A list whose search takes too long: the page has what the newest rows gave, on every database. A count that takes
too long ends."""

import time
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, insert, literal, literal_column, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from tests.support.plans import NOON, add, row
from tests.support.reconciling import Workbench
from tests.support.sql import execute
from worker.database.bounded_statements import bounded, read_within
from worker.database.tables import ORDERS, REJECTED, UNMATCHED
from worker.domain.records.metrics import Count
from worker.domain.records.orders import OrderState
from worker.views.metrics import count_all
from worker.views.orders import OrderSearch, find_orders, has_orders
from worker.views.page import Listed, OrNothing, read_page
from worker.views.rejected_and_unmatched import recent_rejected

MANY = 20_000
# No database searches all rows in this time.
SHORT_SECONDS = 0.001


@pytest.fixture
def filled(bench: Workbench) -> Workbench:
    """Refused rows, of which the first one says so."""
    refused = {"received_at": NOON, "source": "x", "errors": "x"}
    with bench.database.write() as connection:
        connection.execute(insert(REJECTED), [{**refused, "payload": "the first"}])
        connection.execute(insert(REJECTED), [{**refused, "payload": f"no. {number}"} for number in range(MANY)])
    return bench


def test_a_search_that_takes_too_long_has_what_the_newest_rows_gave(filled: Workbench) -> None:
    with filled.database.snapshot() as connection:
        old = recent_rejected(connection, holding="the first", after=None, most=5, seconds=SHORT_SECONDS)
        assert (old.rows, old.is_partial, old.next_after) == ([], True, None)
        new = recent_rejected(connection, holding=f"no. {MANY - 1}", after=None, most=5, seconds=SHORT_SECONDS)
        assert ([found["payload"] for found in new.rows], new.is_partial) == ([f"no. {MANY - 1}"], True)
        # The same transaction continues, and no later statement is bounded.
        for seconds in (None, 600.0):
            found = recent_rejected(connection, holding="the first", after=None, most=5, seconds=seconds)
            assert ([row["payload"] for row in found.rows], found.is_partial) == (["the first"], False)


def test_a_full_page_of_the_newest_rows_has_a_next_page(filled: Workbench) -> None:
    with filled.database.snapshot() as connection:
        first = recent_rejected(connection, holding="no. 1", after=None, most=50, seconds=SHORT_SECONDS)
        assert len(first.rows) == 50
        second = recent_rejected(connection, holding="no. 1", after=first.next_after, most=50, seconds=None)
        assert second.rows[0]["id"] < first.rows[-1]["id"]


def test_orders_of_a_search_that_takes_too_long_come_from_every_part_of_it(bench: Workbench) -> None:
    for start in range(0, MANY, 5_000):
        add(bench.database, *(row(f"r{number}", mobile=f"188{number:08}") for number in range(start, start + 5_000)))
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id IN ('r77', 'r10077')")
    wanted = OrderSearch(four="0077")
    with bench.database.snapshot() as connection:
        part = find_orders(connection, wanted, most=50, seconds=SHORT_SECONDS)
        whole = find_orders(connection, wanted, most=50, seconds=None)
    assert (part.is_partial, whole.is_partial) == (True, False)
    assert [found["request_id"] for found in part.rows] == ["r10077", "r77"]
    assert part.rows == whole.rows


def test_an_error_of_a_bounded_statement_is_itself(bench: Workbench) -> None:
    with bench.database.read() as connection, pytest.raises(DBAPIError, match="no_such_table"):
        read_within(connection, 600.0, lambda: connection.execute(text("SELECT 1 FROM no_such_table")))


def test_a_count_of_metrics_that_takes_too_long_ends_with_an_error(bench: Workbench) -> None:
    callback = {"account": "default", "received_at": NOON, "payload": "{}"}
    with bench.database.write() as connection:
        connection.execute(insert(UNMATCHED), [{**callback, "request_id": f"r{number}"} for number in range(MANY)])
    assert count_all(bench.database, ["default"], Count.UNMATCHED, seconds=600.0) == {"default": MANY}
    with pytest.raises(DBAPIError):
        count_all(bench.database, ["default"], Count.UNMATCHED, seconds=SHORT_SECONDS)


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("wanted", [OrderSearch(prefix="1"), OrderSearch(mobile="18812340804")])
def test_the_search_by_the_index_of_an_id_is_bounded_too(bench: Workbench, wanted: OrderSearch) -> None:
    bench.add("1")
    with bench.database.write() as other, bench.database.snapshot() as connection:
        other.execute(text("LOCK TABLE recharge_orders IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        page = find_orders(connection, wanted, most=5, seconds=0.1)
        # The search of the newest rows takes two seconds, whatever the number of its statements.
        assert time.monotonic() - began < 3.0
        assert (page.rows, page.is_partial) == ([], True)
        began = time.monotonic()
        page = find_orders(connection, wanted, most=5, seconds=OrNothing(1.0))
        assert time.monotonic() - began < 1.9
    assert (page.rows, page.is_partial) == ([], True)


@pytest.mark.databases("postgresql")
def test_an_account_that_cannot_be_sought_in_time_is_taken_for_known(bench: Workbench) -> None:
    with bench.database.write() as other, bench.database.snapshot() as connection:
        other.execute(text("LOCK TABLE recharge_orders IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        assert has_orders(connection, "stranger")
        assert time.monotonic() - began < 1.5


def test_a_search_that_has_all_or_nothing_does_not_search_the_newest_rows(filled: Workbench) -> None:
    with filled.database.snapshot() as connection:
        seconds = OrNothing(SHORT_SECONDS)
        page = recent_rejected(connection, holding=f"no. {MANY - 1}", after=None, most=5, seconds=seconds)
    assert (page.rows, page.is_partial) == ([], True)


@pytest.mark.databases("postgresql", "mariadb")
def test_a_session_keeps_its_own_limit(bench: Workbench) -> None:
    change, read = {
        "postgresql": ("SET statement_timeout = 77000", "SHOW statement_timeout"),
        "mysql": ("SET SESSION max_statement_time = 77", "SELECT @@SESSION.max_statement_time"),
    }[bench.database.kind]
    with bench.database.read() as connection:
        connection.execute(text(change))
        limit = connection.scalar(text(read))
        with bounded(connection, 600.0):
            assert connection.scalar(select(literal(1))) == 1
        assert connection.scalar(text(read)) == limit


@pytest.mark.databases("postgresql", "mariadb")
def test_a_connection_that_ends_during_a_bounded_statement_is_the_error_that_is_raised(bench: Workbench) -> None:
    name, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mysql": ("SELECT connection_id()", "KILL {}"),
    }[bench.database.kind]

    def read() -> None:
        with bench.database.read() as connection:
            own = connection.scalar(text(name))
            with bounded(connection, 600.0):
                execute(bench.url, end.format(own))
                connection.execute(select(literal(1)))

    with pytest.raises(OperationalError):
        read()


@pytest.mark.parametrize("is_oldest_first", [False, True])
def test_a_search_of_the_newest_rows_has_those_of_every_part_in_either_order(
    bench: Workbench, is_oldest_first: bool
) -> None:
    for start in range(0, MANY, 5_000):
        add(bench.database, *(row(f"r{number}", mobile=f"188{number:08}") for number in range(start, start + 5_000)))
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id IN ('r77', 'r19977')")
    of_states = Listed(
        key=[ORDERS.c.submitted_at, ORDERS.c.id],
        ranges=[[ORDERS.c.state == state] for state in (OrderState.PENDING, OrderState.UNRESOLVED)],
        filters=[ORDERS.c.mobile.endswith("77")],
        is_oldest_first=is_oldest_first,
        newest=200,
    )
    columns = [ORDERS.c.id, ORDERS.c.request_id]
    read = partial(read_page, listed=of_states, table=ORDERS, columns=columns, most=500, seconds=SHORT_SECONDS)
    with bench.database.snapshot() as connection:
        first = read(connection, after=None)
        second = read(connection, after=(NOON, first.rows[0]["id"]))
    assert first.is_partial
    # The newest 200 rows of both states together, on each page.
    names = ["r19877", "r19977"] if is_oldest_first else ["r19977", "r19877"]
    assert [[one["request_id"] for one in page.rows] for page in (first, second)] == [names, names[1:]]


@pytest.mark.databases("postgresql")
def test_succeeded_orders_are_searched_among_the_newest_of_all_as_no_index_has_them(bench: Workbench) -> None:
    old = row("old", state=OrderState.SUCCEEDED, settled_at=NOON)
    add(bench.database, old, row("pending"))
    wanted = OrderSearch(states=[OrderState.SUCCEEDED])
    values: dict[str, Any] = {column.name: column for column in ORDERS.c if column.name != "id"}
    values["request_id"] = literal_column("'p' || number")
    numbers = func.generate_series(1, 50_000).alias("number")
    newer = select(*values.values()).select_from(ORDERS.join(numbers, ORDERS.c.request_id == "pending"))
    bench.run(insert(ORDERS).from_select(list(values), newer))
    with bench.database.snapshot() as connection:
        part = find_orders(connection, wanted, most=5, seconds=SHORT_SECONDS)
        assert (part.rows, part.is_partial) == ([], True)
        whole = find_orders(connection, wanted, most=5)
        assert ([found["request_id"] for found in whole.rows], whole.is_partial) == (["old"], False)


def test_a_search_that_takes_too_long_among_the_newest_rows_too_has_an_empty_page(filled: Workbench) -> None:
    one, two, three = (REJECTED.alias() for _ in range(3))
    endless = select(func.count()).where(one.c.id < two.c.id, two.c.id < three.c.id).scalar_subquery()
    listed = Listed(key=[REJECTED.c.id], filters=[endless > 0])
    with filled.database.snapshot() as connection:
        page = read_page(connection, listed, REJECTED, REJECTED.c, after=None, most=5, seconds=SHORT_SECONDS)
    assert (page.rows, page.is_partial) == ([], True)
