"""A database that is dumped and restored by the commands of the documents, with what happened in between lost."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.archiving import callback
from tests.support.command_line import CommandLine
from tests.support.dumping import Dump
from tests.support.notifying import put_endpoint, told_of
from tests.support.reconciling import Workbench
from worker.database.tables import METADATA, NOTIFICATIONS
from worker.domain.records.notifications import NotificationState
from worker.domain.records.orders import OrderState


@pytest.fixture
def dump(bench: Workbench, tmp_path: Path) -> Dump:
    """Dumps of the bench's database."""
    return Dump(bench.url, tmp_path)


def restore(bench: Workbench, dump: Dump) -> None:
    """Restore the last dump, while nobody is connected."""
    bench.database.close()
    dump.restore()


class Books:
    """A billing system that keeps of each order the newest version of which it was notified."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.kept: dict[str, dict[str, Any]] = {}

    def deliver(self) -> None:
        """Have it receive all that is pending."""
        pending = [one for one in told_of(self._bench) if one.row.state is NotificationState.PENDING]
        for one in pending:
            name = one.data["request_id"]
            if one.data["version"] > self.kept.get(name, {"version": -1})["version"]:
                self.kept[name] = one.data
        with self._bench.database.write() as connection:
            received = update(NOTIFICATIONS).where(NOTIFICATIONS.c.state == NotificationState.PENDING)
            now = self._bench.database.now(connection)
            connection.execute(received.values(state=NotificationState.DELIVERED, delivered_at=now))

    @property
    def states(self) -> dict[str, tuple[OrderState, int]]:
        """What it believes: each order's state and version."""
        return {name: (OrderState(data["state"]), data["version"]) for name, data in self.kept.items()}


def in_the_table(bench: Workbench) -> dict[str, tuple[OrderState, int]]:
    """What the table says: each order's state and version."""
    return {str(order.request_id): (order.state, order.version) for order in bench.orders()}


def test_a_restored_database_holds_all_rows_of_its_dump(bench: Workbench, dump: Dump) -> None:
    put_endpoint(bench)
    bench.add("r1", "r2", expected_amount="2.94")
    bench.intake.record_callbacks([callback("r1")])

    def all_rows() -> dict[str, list[dict[str, Any]]]:
        with bench.database.read() as connection:
            return {
                table.name: sorted((dict(row) for row in connection.execute(table.select()).mappings()), key=str)
                for table in METADATA.sorted_tables
            }

    before = all_rows()
    dump.take()
    bench.add("r3")
    bench.intake.cancel_orders([{"request_id": "r2"}])
    restore(bench, dump)
    assert all_rows() == before
    assert [order.request_id for order in bench.add("r3")] == ["r1", "r2", "r3"]


def test_after_a_restore_renewed_notifications_make_receiver_and_table_equal(
    bench: Workbench, cli: CommandLine, dump: Dump
) -> None:
    put_endpoint(bench)
    books, names = Books(bench), [f"r{number}" for number in range(5)]
    bench.add(*names)
    bench.intake.record_callbacks([callback(name) for name in names])
    books.deliver()
    dump.take()
    cli.run("reopen", *names, "--force", "--reason", "wrong")
    bench.intake.cancel_orders([{"request_id": name} for name in names])
    books.deliver()
    assert {state for state, _ in books.states.values()} == {OrderState.CANCELLED}
    restore(bench, dump)
    cli.run("resend", "--since", "1h", "--yes")
    books.deliver()
    assert {state for state, _ in books.states.values()} == {OrderState.CANCELLED}
    cli.run("resend", "--renew", "--since", "1h", "--yes", "--reason", "restored")
    books.deliver()
    assert books.states == in_the_table(bench)
    assert {state for state, _ in books.states.values()} == {OrderState.SUCCEEDED}
