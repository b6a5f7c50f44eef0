"""Sessions of PostgreSQL whose role, database or pooler changes settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.databases import Postgresql
from tests.support.pgbouncer import Pgbouncer
from tests.support.processes import environment, refusal_to_start
from tests.support.reconciling import Workbench, item
from tests.support.servers import EmbeddedValkey
from tests.support.sql import execute, session
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

REMARK = "充值成功，请注意查收"
SETTINGS = {
    "client_encoding": "LATIN1",
    "DateStyle": "SQL, DMY",
    "TimeZone": "America/New_York",
}


@pytest.fixture
def url(postgresql_server: Postgresql) -> Iterator[str]:
    with postgresql_server.migrated(upgrade) as url:
        yield url


@pytest.fixture
def url_of_own_role(url: str) -> Iterator[str]:
    """The same database, as a role of this test's own."""
    parts = sqlalchemy.make_url(url)
    role = f"{parts.database}_role"
    execute(url, f"CREATE ROLE {role} LOGIN SUPERUSER")
    yield parts.set(username=role).render_as_string(hide_password=False)
    execute(url, f"DROP ROLE {role}")


def settle_an_order(url: str) -> None:
    """Take one order from its arrival to its final state, with a remark that only Unicode can hold."""
    bench = Workbench(url).open()
    try:
        (before,) = bench.add("1000")
        bench.reconcile([item("1000", remark=REMARK)])
        order = bench.order("1000")
        assert (order.state, order.remark) == ("succeeded", REMARK)
        now = bench.now()
        # Exchanged day and month would be noticed, and so would a time in another zone.
        assert abs((now - before.submitted_at).total_seconds() - 3600) < 60
        assert order.settled_at is not None
        assert abs((now - order.settled_at).total_seconds()) < 60
    finally:
        bench.close()


@pytest.mark.parametrize(("name", "value"), [*SETTINGS.items(), ("client_encoding", "SQL_ASCII")])
def test_an_order_settles_whatever_the_database_sets(name: str, value: str, url: str) -> None:
    execute(url, f"ALTER DATABASE {sqlalchemy.make_url(url).database} SET {name} = '{value}'")
    settle_an_order(url)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_unicode_is_refused_by_name(
    encoding: str, postgresql_server: Postgresql, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    with database_in(encoding, postgresql_server) as url:
        upgrade(url)
        found = doctor_on(url, own_valkey.url, status=1)["database_encoding"]
        assert found["status"] == "fatal"
        assert encoding in found["detail"]
        assert "--encoding=UTF8" in found["remedy"]
        line = refusal_to_start(environment(database_url=url, broker_url=own_valkey.url), tmp_path)
    assert encoding in line


@contextmanager
def database_in(encoding: str, server: Postgresql) -> Iterator[str]:
    with server.empty() as other_url:
        parts = sqlalchemy.make_url(other_url)
        name = f"{parts.database}_{encoding.lower()}"
        encoded = f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        execute(other_url, f"CREATE DATABASE {name} {encoded}")
        try:
            yield parts.set(database=name).render_as_string(hide_password=False)
        finally:
            execute(other_url, f"DROP DATABASE {name} WITH (FORCE)")


def doctor_on(url: str, broker_url: str, *, status: int = 0) -> dict[str, Any]:
    settings = {"RECONCILER_DATABASE_URL": url, "RECONCILER_BROKER_URL": broker_url, **ACCOUNT}
    settings["RECONCILER_PLATFORM_URL"] = "http://127.0.0.1:9"
    return CommandLine(settings).checks(status=status)


@pytest.mark.parametrize(
    "options",
    [
        {},
        # Where another session is always free, and where there is only one.
        {"server_round_robin": "1", "min_pool_size": "5"},
        {"default_pool_size": "1"},
    ],
)
@pytest.mark.service
def test_a_pooler_in_transaction_mode_is_a_warning(
    options: dict[str, str], url: str, own_valkey: EmbeddedValkey
) -> None:
    with Pgbouncer(url, "transaction", **options) as pooler:
        found = doctor_on(pooler.url, own_valkey.url)
    assert found["database_sessions"]["status"] == "warning"
    assert "pool_mode = session" in found["database_sessions"]["remedy"]


@pytest.mark.service
def test_a_pooler_that_lends_two_sessions_in_turn_is_a_warning(url: str, own_valkey: EmbeddedValkey) -> None:
    with Pgbouncer(url, "transaction", server_round_robin="1") as pooler:
        # The pooler opens two sessions, and no more: the two connections of the check could get their own each time.
        with session(pooler.url) as first, session(pooler.url) as second:
            for statement in ("BEGIN", "COMMIT"):
                first.exec_driver_sql(statement)
                second.exec_driver_sql(statement)
        found = doctor_on(pooler.url, own_valkey.url)
    assert found["database_sessions"]["status"] == "warning"


@pytest.mark.service
def test_through_a_pooler_in_session_mode_an_order_settles(url_of_own_role: str, own_valkey: EmbeddedValkey) -> None:
    role = sqlalchemy.make_url(url_of_own_role).username
    execute(url_of_own_role, *(f"ALTER ROLE {role} SET {name} = '{value}'" for name, value in SETTINGS.items()))
    with Pgbouncer(url_of_own_role, "session") as pooler:
        assert doctor_on(pooler.url, own_valkey.url)["database_sessions"]["status"] == "ok"
        settle_an_order(pooler.url)


@pytest.mark.service
def test_where_no_second_session_is_free_the_rest_is_checked(url: str, own_valkey: EmbeddedValkey) -> None:
    with Pgbouncer(url, "session", default_pool_size="1") as pooler:
        found = doctor_on(pooler.url, own_valkey.url)
    assert (found["database"]["status"], found["database_sessions"]["status"]) == ("ok", "skipped")
