"""What the senders read twice a second, and what they claim, is a few entries of one index, however much waits."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from tests.support.notifying import put_endpoint
from tests.support.plans import NOON, analyze, notification_row, steps_of, whole_tables
from tests.support.reconciling import Workbench
from worker.database.tables import NOTIFICATIONS
from worker.domain.notifications.deliveries import lease_ends_between
from worker.domain.records.notifications import NotificationState, Rank
from worker.stores.notifications import accounts_due, lock_first

ACCOUNTS = [f"account{number}" for number in range(5)]
LEASED = lease_ends_between(NOON)


@pytest.fixture(scope="module")
def full(migrated_module_url: str) -> Iterator[Workbench]:
    """An outbox of which one account's endpoint has taken nothing for long."""
    bench = Workbench(migrated_module_url).open()
    for account in ACCOUNTS:
        put_endpoint(bench, account)
    states = [NotificationState.DELIVERED] * 4 + [NotificationState.PENDING]
    with bench.database.write() as connection:
        for start in range(0, 20_000, 5_000):
            rows = [
                notification_row(
                    number,
                    state,
                    account=ACCOUNTS[0] if state is NotificationState.PENDING else ACCOUNTS[number % 4],
                    rank=1,
                    due_at=NOON + timedelta(seconds=number - 10_000),
                    tries=0,
                )
                for number in range(start, start + 5_000)
                for state in [states[number % 5]]
            ]
            connection.execute(insert(NOTIFICATIONS), rows)
    analyze(bench.database, "notifications")
    yield bench
    bench.close()


def read_due(connection: Connection) -> set[str]:
    return accounts_due(connection, ACCOUNTS, NOON, LEASED)


def read_far(connection: Connection) -> set[str]:
    return accounts_due(connection, ACCOUNTS, None, LEASED)


def claim_first(connection: Connection) -> list[int]:
    return [row.id for row in lock_first(connection, ACCOUNTS[0], Rank.BULK, 8, LEASED)]


def claim_refused(connection: Connection) -> list[int]:
    return [row.id for row in lock_first(connection, ACCOUNTS[0], Rank.RETRY, 2, LEASED)]


@pytest.mark.parametrize("read", [read_due, read_far, claim_first, claim_refused])
def test_senders_read_by_the_index_of_what_is_due(full: Workbench, read: Callable[[Connection], Any]) -> None:
    steps = steps_of(full.database, read) + "\n"
    assert "ix_notifications_due" in steps, steps
    for whole_table in (*whole_tables("notifications"), "notifications index"):
        assert whole_table not in steps, steps


def test_what_they_read_is_right(full: Workbench) -> None:
    with full.database.write() as connection:
        assert read_due(connection) == read_far(connection) == {ACCOUNTS[0]}
        assert claim_first(connection) == sorted(claim_first(connection))
        assert len(claim_first(connection)) == 8
