"""Thousands of accounts: `status` reads them in a few statements, however many there are."""

from datetime import timedelta
from time import process_time
from typing import Any

import pytest
from sqlalchemy import insert, update

from tests.support.plans import NOON, notification_row, query_row, row
from tests.support.reconciling import Workbench
from tests.support.sql import statements_of
from worker.database.tables import ENDPOINTS, NOTIFICATIONS, ORDERS, QUERIES, SCHEDULES, STATES, WORKERS
from worker.domain.monitoring.findings import Thresholds, check
from worker.domain.records.accounts import Rules
from worker.domain.records.monitoring import WorkerRow
from worker.domain.records.notifications import NotificationState, TransportKind
from worker.stores.accounts import lock_states, save_worker
from worker.views.status import Status, read_liveness, read_status
from worker.views.todo import read_todo


def fill(bench: Workbench, count: int, *, queries: int = 3) -> dict[str, str]:
    """Accounts with a row of each kind that `status` reads; their SIDs, by name."""
    names = [f"account-{number:04}" for number in range(count)]
    with bench.database.write() as connection:
        for table in (ORDERS, QUERIES, NOTIFICATIONS, ENDPOINTS, SCHEDULES, STATES, WORKERS):
            connection.execute(table.delete())
        lock_states(connection, names)
        for _ in range(queries):
            sent = [query_row(account=name, account_sid=f"sid-{name}") for name in names]
            connection.execute(insert(QUERIES), sent)
        connection.execute(insert(ORDERS), [row("r1", account=name) for name in names])
        late = [notification_row(number, NotificationState.PENDING, account=name) for number, name in enumerate(names)]
        connection.execute(insert(NOTIFICATIONS), late)
        endpoint = {"transport": TransportKind.WEBHOOK, "target_digest": "", "shown": "h", "rest_level": 0}
        connection.execute(insert(ENDPOINTS), [{"account": name, "updated_at": NOON, **endpoint} for name in names])
        learned = [{"account": name, "learned": "{}", "schedule": "{}", "computed_at": NOON} for name in names]
        connection.execute(insert(SCHEDULES), learned)
    return {name: f"sid-{name}" for name in names}


def read(bench: Workbench, sids: dict[str, str]) -> Status:
    return read_status(bench.database, sids, bench.rules)


@pytest.mark.workbench(rules=Rules())
def test_status_needs_as_many_statements_for_many_accounts_as_for_few(bench: Workbench) -> None:
    def statements(count: int) -> tuple[int, int]:
        sids = fill(bench, count)
        with statements_of(bench.database.engine) as of_status:
            status = read(bench, sids)
        accounts = status.overview.accounts
        assert {len(one.queries) for one in accounts} == {3}
        assert {one.pending for one in accounts} == {1}
        assert all((status.last_queries[name] or {}).get("account") == name for name in sids)
        assert len([one for one in status.overview.notifications.values() if one.waits_since]) == count
        with statements_of(bench.database.engine) as of_todo:
            read_todo(bench.database, bench.rules, list(sids), 30.0, 5)
        return len(of_status), len(of_todo)

    assert statements(2) == statements(70)


@pytest.mark.workbench(rules=Rules())
def test_the_last_queries_are_those_of_the_account_the_newest_first(bench: Workbench) -> None:
    fill(bench, 3, queries=0)
    with bench.database.write() as connection:
        for number in range(1, 151):
            account = f"account-{number % 3:04}"
            connection.execute(insert(QUERIES), query_row(account=account, order_count=number))
    first, second, third = read(bench, {}).overview.accounts
    assert [query.order_count for query in first.queries] == [150 - 3 * number for number in range(len(first.queries))]
    assert (second.queries[0].order_count, third.queries[0].order_count) == (148, 149)
    assert len(first.queries) == len(third.queries) >= 20


@pytest.mark.slow
@pytest.mark.workbench(rules=Rules())
def test_5000_accounts_are_checked_within_two_seconds(bench: Workbench) -> None:
    sids = fill(bench, 5_000, queries=20)
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        connection.execute(update(NOTIFICATIONS).values(state=NotificationState.DELIVERED, delivered_at=now))
        save_worker(connection, ticking(now, tuple(sids)))
    if bench.database.kind == "postgresql":
        # As autovacuum does before long. Without statistics the plan depends on its moment.
        bench.run("ANALYZE")
    began = process_time()
    overview = read(bench, sids).overview
    found = check(overview, Thresholds(), bench.rules)
    assert process_time() - began < 2
    assert len(overview.accounts) == 5_000
    assert "no_tick" not in {finding.name for finding in found}


def ticking(at: Any, accounts: tuple[str, ...] | None = None) -> WorkerRow:
    times = {"started_at": at, "last_tick_at": at, "written_at": at}
    return WorkerRow(name="host:1:a", host="host", pid=1, clock_offset_seconds=0.0, accounts=accounts, **times)


# On SQLite a transaction sees no tick that comes later.
@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.workbench(rules=Rules())
def test_a_tick_that_comes_while_the_status_is_read_is_none_of_a_clock_set_back(bench: Workbench) -> None:
    worker = Workbench(bench.url)

    def tick() -> None:
        bench.database.step += timedelta(seconds=10)
        with worker.database.write() as connection:
            save_worker(connection, ticking(worker.database.now(connection) + bench.database.step))

    bench.database.before_statements(tick)
    found = check(read(bench, {}).overview, Thresholds(), bench.rules)
    assert "no_tick" not in {finding.name for finding in found}
    assert read_liveness(bench.database, 30.0).ticks
    worker.close()
