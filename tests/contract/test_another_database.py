"""A slot whose row another database wrote is closed for a full reservation, as after a restore. On every database."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.reconciling import SID, Workbench, answer_to, item
from worker.database.read_identity import INFO_KEY, identity_of
from worker.database.tables import BUDGETS
from worker.domain.records.accounts import Rules

pytestmark = pytest.mark.workbench(rules=Rules(grace_seconds=1.0, batch_size=2))


@pytest.fixture(autouse=True)
def orders(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(10)))


def row(bench: Workbench) -> dict[str, Any]:
    (found,) = bench.rows(BUDGETS)
    return found


def write_elsewhere(bench: Workbench) -> None:
    """As if another database had written the row."""
    bench.run("UPDATE query_budgets SET database_identity = :text", text="table=1 created=1 inode=1")


def test_a_row_says_from_its_first_moment_on_which_database_wrote_it(bench: Workbench) -> None:
    with bench.database.read() as connection:
        present = identity_of(connection)
    assert present.text
    assert (row(bench)["database_identity"], row(bench)["database_changes"]) == (present.text, None)


def test_a_row_of_another_database_is_closed_by_the_grant(bench: Workbench) -> None:
    here = row(bench)["database_identity"]
    write_elsewhere(bench)
    with capture_logs() as logs:
        assert bench.grants.take(bench.slot) is None
        assert bench.grants.take(bench.slot) is None
    (line,) = [one for one in logs if one["action"] == "database_changed"]
    assert (line["slots"], line["was"], line["found"]) == (1, "table=1 created=1 inode=1", here)
    assert row(bench)["database_identity"] == here
    bench.take_after(bench.rules.reservation_seconds)


def test_a_tick_closes_it_although_no_order_is_due(bench: Workbench) -> None:
    bench.run("UPDATE recharge_orders SET state = 'cancelled'")
    here = row(bench)["database_identity"]
    write_elsewhere(bench)
    bench.maintenance.openings(bench.slots)
    assert row(bench)["database_identity"] == here
    assert bench.open_slots() == []


def test_a_start_closes_it(bench: Workbench) -> None:
    write_elsewhere(bench)
    bench.maintenance.bring_up_to_date({SID})
    assert bench.open_slots() == []
    bench.take_after(bench.rules.reservation_seconds)


def test_the_answer_to_a_query_of_before_opens_nothing_early(bench: Workbench) -> None:
    query = bench.take()
    write_elsewhere(bench)
    bench.maintenance.openings(bench.slots)
    bench.write_back.answered(query, answer_to(query, [item("r0")]))
    bench.take_after(bench.rules.reservation_seconds)


def test_a_row_of_a_release_that_says_nothing_takes_the_present_one_without_a_wait(bench: Workbench) -> None:
    here = row(bench)["database_identity"]
    bench.run("UPDATE query_budgets SET database_identity = NULL")
    bench.take()
    assert (row(bench)["database_identity"], row(bench)["database_changes"]) == (here, None)


@pytest.mark.databases("sqlite", "postgresql")
def test_a_connection_that_believes_in_a_server_of_before_closes_nothing(bench: Workbench) -> None:
    """As behind a pooler across a failover: the session stays, the server does not."""
    old = Workbench(bench.url, bench.rules, clock=bench.clock)
    here = row(bench)["database_identity"]
    with old.database.read() as connection:
        fact = "inode" if old.database.kind == "sqlite" else "system"
        connection.info[INFO_KEY] |= {fact: "1"}
        assert identity_of(connection).text != here
    granted = 0
    with capture_logs() as logs:
        for _ in range(21):
            bench.clock.advance(10.0)
            for process in (bench, old):
                process.maintenance.openings(process.slots)
                granted += process.grants.take(process.slot) is not None
    old.close()
    assert [one for one in logs if one["action"] == "database_changed"] == []
    assert granted == 1 + 210 // bench.rules.reservation_seconds
    assert (row(bench)["database_identity"], row(bench)["database_changes"]) == (here, None)
