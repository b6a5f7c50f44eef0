"""A failover to a real replica that lacks the last query: the next one waits for a full reservation."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from tests.support import mariadb
from tests.support.needed import cannot, needed
from tests.support.pgbouncer import Pgbouncer
from tests.support.plain_role import least_role
from tests.support.reconciling import Workbench
from tests.support.replicas import Replicated, replicated
from tests.support.sql import column_of, execute
from tests.support.waiting import eventually
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow


@pytest.fixture(params=["postgresql", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def servers(request: pytest.FixtureRequest) -> Iterator[Replicated]:
    """A migrated database and its replica."""
    with servers_of(request.param) as found:
        yield found


@contextmanager
def servers_of(kind: str) -> Iterator[Replicated]:
    if kind == "mariadb" and not mariadb.is_installed():
        cannot("this machine has no MariaDB")
    with replicated(kind) as found:
        upgrade(found.url)
        yield found


@contextmanager
def at_work(url: str) -> Iterator[Workbench]:
    """A process whose slot is open, with more orders than a few queries poll."""
    bench = Workbench(url).open()
    bench.add(*(f"r{number}" for number in range(400)))
    yield bench
    bench.close()


def lose_a_query(bench: Workbench, servers: Replicated) -> None:
    """Send a query whose reservation the replica never gets."""
    servers.replica.catch_up()
    servers.replica.detach()
    bench.take()


def check_it_waits(bench: Workbench) -> None:
    with capture_logs() as logs:
        assert bench.grants.take(bench.slot) is None, "a query, at the moment of the last one"
        bench.take_after(bench.rules.reservation_seconds)
        bench.take_after(bench.rules.reservation_seconds)
    assert [line["slots"] for line in logs if line["action"] == "database_changed"] == [1]


@contextmanager
def promoted_after_a_loss(servers: Replicated) -> Iterator[Workbench]:
    """A process with a session that was opened on the replica before its promotion, which has lost the last query."""
    with at_work(servers.url) as bench:
        servers.replica.catch_up()
        there = Workbench(servers.replica_url, clock=bench.clock)
        # Its pool keeps the session that this opens.
        there.now()
        lose_a_query(bench, servers)
        servers.fail_over()
        yield there
        there.close()


def test_a_session_that_was_opened_before_the_promotion_sends_no_query_too_early(servers: Replicated) -> None:
    with promoted_after_a_loss(servers) as there:
        check_it_waits(there)


def test_a_tick_closes_the_slot_on_the_promoted_server(servers: Replicated) -> None:
    with promoted_after_a_loss(servers) as there:
        there.open_slots()
        assert there.open_slots() == []
        there.take_after(there.rules.reservation_seconds)


@pytest.mark.service
def test_behind_a_pooler_in_transaction_mode_none_is_sent_too_early() -> None:
    needed("pgbouncer")
    with (
        servers_of("postgresql") as servers,
        Pgbouncer(servers.url, "transaction") as pooler,
        at_work(pooler.url) as bench,
    ):
        lose_a_query(bench, servers)
        pooler.lead_to(servers.replica_url)
        in_recovery = "SELECT pg_is_in_recovery()"
        eventually(lambda: column_of(pooler.url, in_recovery) == [True], "a pooler that leads to the replica")
        servers.fail_over()
        check_it_waits(bench)


@pytest.mark.databases("postgresql")
def test_queries_go_on_after_the_role_has_lost_the_right_to_read_the_timeline(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(400)))
    functions = ("pg_walfile_name(pg_lsn)", "pg_current_wal_lsn()", "pg_control_system()")
    with least_role(bench.url) as role:
        theirs = Workbench(role.url, clock=bench.clock)
        theirs.take()
        execute(bench.url, *(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC" for function in functions))
        try:
            bench.clock.advance(bench.rules.reservation_seconds)
            # The statement that the open session knows fails once.
            with pytest.raises(DBAPIError, match="permission denied"):
                theirs.grants.take(theirs.slot)
            with capture_logs() as logs:
                theirs.take()
                theirs.take_after(bench.rules.reservation_seconds)
                theirs.maintenance.openings(theirs.slots)
            assert [line["action"] for line in logs] == []
        finally:
            execute(bench.url, *(f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC" for function in functions))
            theirs.close()
    # The next one who may read it finds the database that the row names.
    bench.take_after(bench.rules.reservation_seconds)
