"""On every database: orders that are not due take positions of a query that is sent anyway, and only these."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from tests.support.plans import NOON, add, analyze, row, steps_of
from tests.support.reconciling import Workbench
from worker.database.tables import ORDERS, QUERIES
from worker.database.transactions import Database
from worker.domain.queries.choose_batch import spare_pages
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import DeadlineExceeded
from worker.domain.records.orders import IdKind
from worker.stores.pending_orders import read_candidates

pytestmark = pytest.mark.workbench(rules=Rules(grace_seconds=1.0, slots=2))


def wait_until_later(bench: Workbench, *names: str, polled_seconds_ago: float = 600.0) -> None:
    """These orders were polled so long ago, and are due in an hour: the database's clock cannot be moved."""
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        times = {"queried_at": now - timedelta(seconds=polled_seconds_ago), "due_at": now + timedelta(hours=1)}
        connection.execute(ORDERS.update().where(ORDERS.c.request_id.in_(names)).values(age_bucket=7, **times))


def test_a_query_that_is_sent_for_a_due_order_polls_spare_ones_too(bench: Workbench) -> None:
    bench.add("due", "spare-1", "spare-2", "just-polled")
    wait_until_later(bench, "spare-1", "spare-2")
    wait_until_later(bench, "just-polled", polled_seconds_ago=30.0)

    query = bench.take()

    assert query.ids[0] == "due"
    assert sorted(query.ids[1:]) == ["spare-1", "spare-2"]
    assert query.spare_count == 2
    (kept,) = bench.rows(QUERIES)
    assert (kept["order_count"], kept["spare_count"]) == (3, 2)


def test_no_query_is_sent_for_spare_orders_alone(bench: Workbench) -> None:
    bench.add("spare-1", "spare-2")
    wait_until_later(bench, "spare-1", "spare-2")
    assert bench.grants.take(bench.slot) is None


def test_an_order_that_another_query_holds_is_not_spare(bench: Workbench) -> None:
    bench.add("due-1", "spare")
    wait_until_later(bench, "spare")
    assert sorted(bench.take().ids) == ["due-1", "spare"]

    bench.add("due-2")
    second = bench.grants.take(bench.slots[1])
    assert second is not None
    assert second.ids == ("due-2",)


def test_after_a_query_that_failed_a_spare_order_is_due_as_before(bench: Workbench) -> None:
    bench.add("due", "spare")
    wait_until_later(bench, "spare")
    before = bench.order("spare")
    query = bench.take()
    bench.write_back.failed(query, DeadlineExceeded("no answer"))

    after = bench.order("spare")
    assert (after.due_at, after.queried_at, after.query_count) == (before.due_at, before.queried_at, before.query_count)
    assert after.lease_token is None


def test_spare_orders_are_read_by_the_index_whatever_the_size_of_the_table(migrated_database_url: str) -> None:
    database = Database(migrated_database_url)
    times = {"queried_at": NOON - timedelta(hours=1)}
    add(database, *(row(str(n), age_bucket=n % 24, due_at=NOON + timedelta(seconds=n), **times) for n in range(5_000)))
    held = {"age_bucket": 3, "due_at": NOON + timedelta(microseconds=1), "lease_token": "held", **times}
    add(database, *(row(f"held-{n}", **held) for n in range(200)))
    analyze(database)
    with database.read() as connection:
        found = read_candidates(connection, "default", NOON, spare_pages(IdKind.REQUEST_ID))
    assert len(found) == 23 * 25
    assert {each.age_bucket for each in found} == set(range(1, 24))
    assert all(NOON < each.due_at <= NOON + timedelta(seconds=25 * 24) for each in found)

    def read(connection: Connection) -> None:
        read_candidates(connection, "default", NOON, spare_pages(IdKind.REQUEST_ID))

    steps = steps_of(database, read)
    assert "ix_recharge_orders_due" in steps, steps
    assert "Seq Scan on recharge_orders" not in steps
    database.close()
