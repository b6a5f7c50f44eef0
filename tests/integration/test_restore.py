"""A database that is dumped and restored by the commands of the documents, with what happened in between lost."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, make_url

from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.dumping import Dump, programs_of
from tests.support.needed import cannot, needed
from tests.support.notifying import put_endpoint
from tests.support.reconciling import SID, Workbench
from tests.support.settled_orders import callback
from tests.support.waiting import eventually
from tests.support.watching import signs_of_a_well_worker, unwatched
from worker.adapters.clock import HostClock
from worker.database.read_identity import birth_time, identity_beside, identity_of
from worker.database.tables import METADATA, WORKERS
from worker.database.transactions import Database
from worker.domain.records.accounts import DatabaseIdentity
from worker.operations.write_heartbeat import Heartbeat


@pytest.fixture
def dump(bench: Workbench, tmp_path: Path) -> Dump:
    """Dumps of the bench's database. Skips the test where this machine lacks a program for it."""
    for program in programs_of(bench.url):
        needed(program)
    return Dump(bench.url, tmp_path)


@pytest.fixture
def cli(bench: Workbench) -> CommandLine:
    """The commands, on the same database, with a platform on this machine."""
    here = {"RECONCILER_DATABASE_URL": bench.url, "RECONCILER_PLATFORM_URL": "http://127.0.0.1:9"}
    return CommandLine({**ACCOUNT, **here})


@contextmanager
def ticking(bench: Workbench) -> Iterator[None]:
    """A worker process that has just ticked."""
    just_now = signs_of_a_well_worker()
    heartbeat = Heartbeat(bench.database, HostClock(), just_now, ["default"], unwatched(), period_seconds=0.05)
    try:
        eventually(lambda: any(row["name"] == heartbeat.name for row in workers(bench)), "its row")
        yield
    finally:
        heartbeat.close()


def workers(bench: Workbench) -> list[dict[str, Any]]:
    with bench.database.read() as connection:
        return [dict(row) for row in connection.execute(WORKERS.select()).mappings()]


def facts_of(url: URL) -> dict[str, str]:
    """What a role sees of the identity of its database."""
    database = Database(url.render_as_string(hide_password=False), pool_size=1)
    try:
        with database.read() as connection:
            found = identity_of(connection)
            # Read again within a transaction it is the same, and the transaction goes on.
            assert identity_beside(connection, [DatabaseIdentity("database=0")]) == found
            return found.parts
    finally:
        database.close()


def restore(bench: Workbench, dump: Dump) -> None:
    """Restore the last dump, while nothing is connected."""
    bench.database.close()
    dump.restore()


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


def test_a_restored_database_sends_no_query_before_a_full_reservation(bench: Workbench, dump: Dump) -> None:
    bench.add(*(f"r{number}" for number in range(300)))
    dump.take()
    bench.take()
    restore(bench, dump)
    assert bench.grants.take(bench.slot) is None
    bench.clock.advance(bench.rules.reservation_seconds - 0.001)
    assert bench.grants.take(bench.slot) is None
    bench.clock.advance(0.002)
    bench.take()


@pytest.mark.databases("sqlite")
def test_every_restore_of_the_same_backup_is_noticed(bench: Workbench, dump: Dump) -> None:
    file = make_url(bench.url).database
    assert file
    if birth_time(file) is None:
        cannot("this file system keeps no birth times: a second file with the same inode looks like the first")
    bench.add(*(f"r{number}" for number in range(300)))
    bench.take()
    bench.clock.advance(bench.rules.reservation_seconds)
    dump.take()
    inodes = []
    for _ in range(5):
        bench.take()
        restore(bench, dump)
        inodes.append(os.stat(file).st_ino)
        assert bench.grants.take(bench.slot) is None, inodes
        bench.clock.advance(bench.rules.reservation_seconds + 0.001)


def test_after_a_restore_monitoring_says_so_and_workers_of_before_count_for_nothing(
    bench: Workbench, cli: CommandLine, dump: Dump
) -> None:
    def check(status: int) -> list[str]:
        return [one["name"] for one in cli.json("status", "--check", status=status)["findings"]]

    def examined() -> str:
        return str(cli.checks()["database_identity"]["status"])

    with ticking(bench):
        assert (check(0), examined()) == ([], "ok")
        dump.take()
    restore(bench, dump)
    assert check(2) == ["no_tick", "database_changed"]
    cli.run("health", status=1)
    assert examined() == "warning"
    # What a worker does before it is ready.
    bench.maintenance.bring_up_to_date({SID})
    with ticking(bench):
        assert (check(1), examined()) == (["database_changed"], "warning")
    bench.run("UPDATE query_budgets SET database_changes = '2016-01-31T10:00:00+00:00'")
    with ticking(bench):
        assert (check(0), examined()) == ([], "ok")


@pytest.mark.databases("postgresql")
def test_a_role_without_rights_to_a_fact_goes_without_it(migrated_database_url: str) -> None:
    admin, role = make_url(migrated_database_url), f"limited_{secrets.token_hex(4)}"
    with psycopg.connect(admin.set(drivername="postgresql").render_as_string(False), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        for function in ("pg_control_system()", "pg_current_wal_lsn()"):
            connection.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        all_facts, some = (facts_of(admin), facts_of(admin.update_query_dict({"options": f"-c role={role}"})))
        for function in ("pg_control_system()", "pg_current_wal_lsn()"):
            connection.execute(f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC")
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")
    assert set(all_facts) == {"system", "timeline", "database", "table"}
    assert some == {name: value for name, value in all_facts.items() if name in ("database", "table")}
