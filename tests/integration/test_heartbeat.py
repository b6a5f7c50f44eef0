"""A worker process's row: written by a timer, with its last tick; deleted at its end, or once it is not written."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import pytest
import time_machine
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench
from tests.support.waiting import eventually
from tests.support.watching import Watching, unwatched
from worker.adapters.clock import HostClock
from worker.database.tables import REJECTED
from worker.database.transactions import DatabaseError
from worker.domain.records.monitoring import CutOff, WorkerRow
from worker.operations.write_heartbeat import Heartbeat, Peers, Signs, host_name
from worker.process.intake import Intake
from worker.stores.accounts import delete_unwritten, read_cut_off, save_cut_off, save_worker
from worker.views.accounts import read_workers


class Ages:
    """Stand for a process's ticks, and for what it hears."""

    tick: float | None = None
    beat: float | None = None
    broker_asked: float | None = None
    broker_answered: float | None = None
    queue_empty: float | None = None
    taken_in: float | None = None
    other_deployment: float | None = None
    orders_waiting: int | None = None
    ticks_waiting: int | None = None

    def signs(self) -> Signs:
        return Signs(
            tick=lambda: self.tick,
            beat=lambda: self.beat,
            broker_asked=lambda: self.broker_asked,
            broker_answered=lambda: self.broker_answered,
            queue_empty=lambda: self.queue_empty,
            taken_in=lambda: self.taken_in,
            other_deployment=lambda: self.other_deployment,
            orders_waiting=lambda: self.orders_waiting,
            ticks_waiting=lambda: self.ticks_waiting,
        )


@pytest.fixture
def ages() -> Ages:
    return Ages()


@pytest.fixture
def heartbeat(bench: Workbench, ages: Ages) -> Iterator[Heartbeat]:
    made = Heartbeat(bench.database, HostClock(), ages.signs(), ["default", "shop"], unwatched(), period_seconds=0.05)
    yield made
    made.close()


def rows(bench: Workbench) -> list[WorkerRow]:
    with bench.database.read() as connection:
        return list(read_workers(connection))


def row_when(bench: Workbench, condition: Any) -> WorkerRow:
    def found() -> list[WorkerRow]:
        return [row for row in rows(bench) if condition(row)]

    return eventually(found, "the process's row")[0]


def test_the_row_says_who_ticked_and_when(bench: Workbench, heartbeat: Heartbeat, ages: Ages) -> None:
    first = row_when(bench, lambda row: True)
    assert (first.name, first.host, first.pid, first.last_tick_at) == (heartbeat.name, host_name(), os.getpid(), None)
    assert abs(first.clock_offset_seconds) < 5
    assert first.accounts == ("default", "shop")
    assert first.version == version("recharge-reconciler")
    ages.tick = 42.0
    second = row_when(bench, lambda row: row.last_tick_at is not None)
    assert second.written_at - (second.last_tick_at or second.written_at) == timedelta(seconds=42)
    assert (second.started_at, second.accounts) == (first.started_at, first.accounts)
    assert len(rows(bench)) == 1


def test_the_row_says_when_the_broker_answered_and_when_beat_was_heard(
    bench: Workbench, heartbeat: Heartbeat, ages: Ages
) -> None:
    silent = row_when(bench, lambda row: True)
    assert (silent.broker_asked_at, silent.broker_answered_at, silent.last_beat_at) == (None, None, None)
    # Read in the other order: a row that has the last one has all.
    ages.beat, ages.broker_answered, ages.broker_asked = 7.0, 31.0, 1.0
    row = row_when(bench, lambda row: row.broker_asked_at is not None)
    times = (row.broker_asked_at, row.broker_answered_at, row.last_beat_at)
    assert [time and (row.written_at - time).total_seconds() for time in times] == [1, 31, 7]


FULL = {
    "postgresql": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON rejected_orders FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
    "mysql": (
        "CREATE TRIGGER refuse BEFORE INSERT ON rejected_orders FOR EACH ROW"
        " SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'",
    ),
    # No page beyond the present ones.
    "sqlite": ("PRAGMA max_page_count = 1",),
}


def refuse_to_write(bench: Workbench, statement: Any) -> None:
    with bench.database.write() as connection:
        for change in FULL[bench.database.kind]:
            connection.exec_driver_sql(change)
        connection.execute(statement)


def test_a_full_disk_is_named_by_the_row_the_check_and_the_doctor(
    bench: Workbench, cli: CommandLine, heartbeat: Heartbeat, ages: Ages
) -> None:
    ages.tick = 1.0
    assert row_when(bench, lambda row: row.last_tick_at is not None).database_full_at is None
    cli = CommandLine({**cli.settings, "RECONCILER_PLATFORM_URL": "http://127.0.0.1:9"})
    assert "database_writes" not in cli.checks()
    refused = {"received_at": bench.now(), "source": "test", "payload": "x" * 1_000_000, "errors": ""}
    with pytest.raises(DBAPIError):
        refuse_to_write(bench, insert(REJECTED).values(refused))
    row = row_when(bench, lambda row: row.database_full_at is not None)
    assert timedelta(0) <= row.written_at - (row.database_full_at or row.written_at) < timedelta(seconds=60)
    said = "the database's disk is full: a write failed "
    assert cli.run("status", "--check", status=2).stdout.startswith(f"CRITICAL: {said}")
    assert cli.json("status")["workers"][0]["database_full_at"] is not None
    found = cli.checks(status=1)["database_writes"]
    assert (found["status"], found["detail"].startswith(said)) == ("fatal", True)
    assert found["remedy"] == "make room on it"


def test_the_row_says_what_waits_at_the_broker_and_when_a_task_committed(
    bench: Workbench, heartbeat: Heartbeat, ages: Ages
) -> None:
    unknown = row_when(bench, lambda row: True)
    assert (unknown.orders_waiting, unknown.queue_empty_at, unknown.taken_in_at) == (None, None, None)
    ages.queue_empty, ages.taken_in, ages.ticks_waiting, ages.orders_waiting = 61.0, 62.0, 3, 4000
    row = row_when(bench, lambda row: row.orders_waiting is not None)
    assert (row.orders_waiting, row.ticks_waiting) == (4000, 3)
    times = (row.queue_empty_at, row.taken_in_at)
    assert [time and (row.written_at - time).total_seconds() for time in times] == [61, 62]


def test_the_database_has_an_id_of_its_own_and_the_row_says_that_another_one_was_found(
    bench: Workbench, ages: Ages
) -> None:
    peers, ages.other_deployment = Peers(), 12.0
    heartbeat = Heartbeat(bench.database, HostClock(), ages.signs(), ["default"], unwatched(), peers=peers)
    try:
        row = row_when(bench, lambda row: True)
    finally:
        heartbeat.close()
    assert row.other_deployment_at is not None
    assert (row.written_at - row.other_deployment_at).total_seconds() == 12
    assert re.fullmatch("[0-9a-f]{32}", peers.deployment)
    bench.run("DELETE FROM deployment")
    peers = Peers()
    Heartbeat(bench.database, HostClock(), ages.signs(), ["default"], unwatched(), peers=peers).close()
    assert peers.deployment == ""


def test_each_process_knows_those_that_take_slots_and_their_accounts(bench: Workbench, ages: Ages) -> None:
    ages.tick = 1.0
    accounts = (["a", "b"], ["b", "a"], ["b"])
    peers = [Peers(host=f"host-{number}") for number in range(3)]
    made = [
        Heartbeat(bench.database, HostClock(), ages.signs(), one, unwatched(), peers=its, period_seconds=0.05)
        for one, its in zip(accounts, peers, strict=True)
    ]

    def known(its: Peers) -> set[tuple[str, frozenset[str]]]:
        return {(one.host, one.accounts) for one in its.processes.values()}

    all_of = {(f"host-{number}", frozenset(one)) for number, one in enumerate(accounts)}
    # A row is there before its process knows that it is.
    eventually(lambda: all(its.own and known(its) == all_of for its in peers), "all of them")
    assert [its.own for its in peers] == [one.name for one in made]
    assert all(its.processes[its.own].host == its.host for its in peers)
    made[1].close()
    eventually(lambda: "host-1" not in {host for host, _ in known(peers[0])}, "the end of one")
    for one in made[::2]:
        one.close()


def test_a_process_that_starts_forgets_refusals_of_other_credentials_and_hosts_that_nobody_tries(
    bench: Workbench, ages: Ages
) -> None:
    now, day = bench.now(), timedelta(days=1)
    hosts = {("own", "new"): now, ("own", "old"): now, ("other", "old"): now, ("gone", "old"): now - day}
    with bench.database.write() as connection:
        for number, ((host, credentials), probe_at) in enumerate(hosts.items()):
            row = CutOff(host=host, account=f"{number}", since=now, probe_at=probe_at, credentials=credentials)
            save_cut_off(connection, row)

    def known() -> set[tuple[str, str]]:
        with bench.database.read() as connection:
            return {(row.host, row.credentials) for row in read_cut_off(connection)}

    # The database is away at first: the start is not over before that was done.
    bench.run("ALTER TABLE worker_processes RENAME TO away")
    its = Heartbeat(
        *(bench.database, HostClock(), ages.signs(), ["default"], unwatched()),
        peers=Peers(host="own", credentials="new"),
        period_seconds=0.05,
    )
    bench.run("ALTER TABLE away RENAME TO worker_processes")
    eventually(lambda: known() == {("own", "new"), ("other", "old")}, "the end of the others")
    its.close()


@pytest.mark.parametrize(
    ("tick", "hangs"), [(300.0, False), (1.0, True)], ids=["without ticks", "with a pass that hangs"]
)
def test_a_process_that_makes_no_passes_is_none_that_takes_slots(bench: Workbench, tick: float, *, hangs: bool) -> None:
    dead, ticking, watching, peers = Ages(), Ages(), Watching(), Peers()
    dead.tick, ticking.tick = tick, 1.0
    if hangs:
        watching.dog.begin("a pass")
        watching.pass_time(150)
    its = Heartbeat(bench.database, HostClock(), dead.signs(), ["default"], watching.dog, period_seconds=0.05)
    row_when(bench, lambda row: row.last_tick_at is not None)
    own = Heartbeat(bench.database, HostClock(), ticking.signs(), ["default"], unwatched(), peers=peers)
    eventually(lambda: len(rows(bench)) == 2, "both rows")
    own.close()
    assert set(peers.processes) == {own.name}
    its.close()


def test_the_row_says_that_something_in_the_process_hangs(bench: Workbench, ages: Ages) -> None:
    watching = Watching()
    watching.dog.begin("a pass")
    watching.pass_time(150)
    heartbeat = Heartbeat(bench.database, HostClock(), ages.signs(), ["default"], watching.dog, period_seconds=0.05)
    row = row_when(bench, lambda row: row.hanging_since is not None)
    assert row.written_at - (row.hanging_since or row.written_at) == timedelta(seconds=150)
    heartbeat.close()


def test_each_statement_is_a_step_of_what_its_thread_works_at(bench: Workbench) -> None:
    watching = Watching()
    bench.database.before_statements(watching.dog.step)
    watched = watching.dog.begin("a tick on a slow database")
    watched.here()
    for _ in range(5):
        watching.pass_time(90)
        rows(bench)
    assert watching.hanging() == set()
    watching.pass_time(101)
    assert watching.hanging() == {"a tick on a slow database"}


def test_the_row_is_written_again_after_somebody_has_deleted_it(bench: Workbench, heartbeat: Heartbeat) -> None:
    first = row_when(bench, lambda row: True)
    bench.run("DELETE FROM worker_processes")
    again = row_when(bench, lambda row: True)
    assert (again.name, again.started_at) == (first.name, first.started_at)


def test_a_process_that_ends_in_order_deletes_its_row(bench: Workbench, ages: Ages) -> None:
    heartbeat = Heartbeat(bench.database, HostClock(), ages.signs(), ["default"], unwatched(), period_seconds=3600)
    row_when(bench, lambda row: True)
    heartbeat.close()
    assert rows(bench) == []


def test_what_was_not_written_for_ten_minutes_is_deleted_and_nothing_else(
    bench: Workbench, heartbeat: Heartbeat
) -> None:
    mine = row_when(bench, lambda row: True)
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        save_worker(connection, replace(mine, name="killed", written_at=now - timedelta(minutes=10, seconds=1)))
        save_worker(connection, replace(mine, name="slow", written_at=now - timedelta(minutes=9)))
    eventually(lambda: {row.name for row in rows(bench)} == {mine.name, "slow"}, "the old row's end")
    with bench.database.write() as connection:
        delete_unwritten(connection, now - timedelta(minutes=8))
    assert "slow" not in {row.name for row in rows(bench)}


def test_a_database_that_fails_for_a_while_is_written_again(bench: Workbench, heartbeat: Heartbeat) -> None:
    row_when(bench, lambda row: True)
    bench.run("ALTER TABLE worker_processes RENAME TO hidden")
    hidden_at = bench.now()
    bench.run("ALTER TABLE hidden RENAME TO worker_processes")
    row_when(bench, lambda row: row.written_at > hidden_at)


def test_a_wall_clock_that_is_off_shows_in_the_row(bench: Workbench, ages: Ages) -> None:
    with time_machine.travel(HostClock().now() + timedelta(hours=1), tick=True):
        signs, dog = ages.signs(), unwatched()
        heartbeat = Heartbeat(bench.database, HostClock(), signs, ["default"], dog, period_seconds=3600)
        try:
            row = row_when(bench, lambda row: True)
        finally:
            heartbeat.close()
    if bench.database.kind != "sqlite":
        assert row.clock_offset_seconds == pytest.approx(3600, abs=30)


@pytest.mark.parametrize(
    "take_in",
    [
        lambda intake: intake.enqueue_orders([{"request_id": "1", "mobile": "188-0000"}]),
        lambda intake: intake.record_callbacks([{}]),
        lambda intake: intake.cancel_orders([{"request_id": "1"}]),
        lambda intake: intake.check_orders([]),
    ],
    ids=["orders", "callbacks", "cancellations", "checks"],
)
def test_a_list_counts_as_taken_in_once_it_is_committed_refused_items_included(
    bench: Workbench, take_in: Callable[[Intake], object]
) -> None:
    bench.run("ALTER TABLE rejected_orders RENAME TO hidden")
    with pytest.raises(DatabaseError):
        take_in(bench.intake)
    assert bench.intake.seconds_since_commit() is None
    bench.run("ALTER TABLE hidden RENAME TO rejected_orders")
    take_in(bench.intake)
    assert 0 <= (bench.intake.seconds_since_commit() or -1) < 60
