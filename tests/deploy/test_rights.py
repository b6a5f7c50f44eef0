"""Worker, serve, console, commands and a producer run over TLS as the users of deploy/, who may do that and no more."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy
from sqlalchemy import make_url

from tests.contract.platform.raw_server import CERTIFICATE
from tests.deploy.servers_over_tls import (
    DEPLOY,
    OWNER,
    PROGRAMS,
    READER,
    MariadbOverTls,
    PgbouncerOverTls,
    PostgresOverTls,
    RedisOverTls,
)
from tests.support import redis_users
from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.documents import ROOT, fenced
from tests.support.everything import Servers, run_everything
from tests.support.needed import needed
from tests.support.sql import execute, rows_of, session
from worker.database.migrations import upgrade
from worker.database.revisions import revisions
from worker.database.server import read_missing_rights
from worker.database.tables import METADATA

pytestmark = pytest.mark.deploy

WORKER, PRODUCER = ("reconciler", "choose-one"), ("billing", "choose-another")
IGNORED = {"client|setinfo", "config|get"}
"""What clients and the doctor ask for, and can do without."""
Database = PostgresOverTls | MariadbOverTls


@pytest.fixture(autouse=True)
def _trusted_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


def _migrated(server: Database) -> Database:
    """The grants are older than the last migrations."""
    upgrade(server.url_of(OWNER), revisions()[-3])
    upgrade(server.url_of(OWNER))
    return server


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Database]:
    with PostgresOverTls() as server:
        yield _migrated(server)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Database]:
    with MariadbOverTls() as server:
        yield _migrated(server)


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    server: Database = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisOverTls]:
    with RedisOverTls() as server:
        yield server


def test_everything_runs_as_those_users(database: Database, broker: RedisOverTls, tmp_path: Path) -> None:
    with broker.client("admin", "choose-a-third") as client:
        client.flushdb()
        client.acl_log_reset()

    def as_administrator(*statements: str) -> None:
        execute(database.administrators_url, *statements)

    servers = Servers(
        database=database.url_of(PROGRAMS),
        broker=broker.url_of(*WORKER),
        producers_broker=broker.url_of(*PRODUCER),
        execute=as_administrator,
    )
    run_everything(servers, tmp_path)
    with broker.client("admin", "choose-a-third") as client:
        assert {str(one["object"]) for one in client.acl_log()} <= IGNORED


def test_the_programs_have_every_right_that_they_need_and_change_no_table(
    database: Database,
) -> None:
    url = database.url_of(PROGRAMS)
    assert read_missing_rights(url).rights == {}
    for statement in (
        "CREATE TABLE ours (id integer)",
        "ALTER TABLE operator_acts ADD COLUMN ours integer",
        "CREATE INDEX ours ON operator_acts (at)",
        "TRUNCATE TABLE operator_acts",
        "DROP TABLE operator_acts",
        "CREATE TEMPORARY TABLE ours (id integer)",
        "CREATE DATABASE ours",
    ):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"denied|permission|must be owner"):
            execute(url, statement)


def test_the_billing_systems_role_reads_results_and_nothing_else(database: Database) -> None:
    database.add_reader()
    url = database.url_of(READER)
    assert {table for table in METADATA.tables if may_read(url, table)} == {
        *("recharge_orders", "order_events", "platform_queries", "rejected_orders")
    }
    for statement in documented_readings("PostgreSQL" if "postgresql" in url else "MariaDB"):
        with session(url) as connection:
            values = {name: datetime.now(UTC) for name in ("since", "upto") if f":{name}" in statement}
            connection.execute(sqlalchemy.text(statement), values).close()
    for statement in (
        "INSERT INTO rejected_orders (source, payload, errors) VALUES ('', '', '')",
        "UPDATE recharge_orders SET state = 'succeeded'",
        "DELETE FROM order_events",
        "CREATE TABLE ours (id integer)",
    ):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"denied|permission"):
            execute(url, statement)


def may_read(url: str, table: str) -> bool:
    try:
        execute(url, f"SELECT 1 FROM {table}")
    except sqlalchemy.exc.DBAPIError:
        return False
    return True


def documented_readings(kind: str) -> list[str]:
    """The statements of docs/reading-states.md for a database."""
    found = [
        code for language, code in fenced((ROOT / "docs/reading-states.md").read_text("utf-8")) if language == "sql"
    ]
    rest = (code.partition("\n")[2] for code in found if kind in code.partition("\n")[0])
    return [statement.strip() for code in rest for statement in code.split(";") if statement.strip()]


def test_no_user_gets_in_without_tls(database: Database) -> None:
    for user in (OWNER, PROGRAMS):
        url = make_url(database.url_of(user))
        plain = url.set(query={"sslmode": "disable"} if "sslmode" in url.query else {"ssl_disabled": "true"})
        with pytest.raises(sqlalchemy.exc.OperationalError, match=r"no encryption|denied"):
            rows_of(plain.render_as_string(hide_password=False), "SELECT 1")


def test_the_pooler_keeps_sessions_and_speaks_tls_to_both_sides(
    postgresql: PostgresOverTls, broker: RedisOverTls
) -> None:
    with PgbouncerOverTls(postgresql) as pooler:
        assert rows_of(pooler.url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]
        plain = make_url(pooler.url).set(query={"sslmode": "disable"}).render_as_string(hide_password=False)
        with pytest.raises(sqlalchemy.exc.OperationalError, match="SSL required"):
            rows_of(plain, "SELECT 1")
        settings = {
            "DATABASE_URL": pooler.url,
            "BROKER_URL": broker.url_of(*WORKER),
            "PLATFORM_URL": "http://127.0.0.1:9",
        }
        cli = CommandLine({**ACCOUNT, **{f"RECONCILER_{name}": value for name, value in settings.items()}})
        found = {check["name"]: check["status"] for check in cli.json("doctor")}
    assert (found["database_sessions"], found["database_rights"], found["broker_rights"]) == ("ok", "ok", "ok")


def test_redis_lets_a_producer_only_write_orders(broker: RedisOverTls) -> None:
    with broker.client(*PRODUCER) as client:
        client.lpush("reconciler.orders", "a message")
        for refused in (
            ("LRANGE", "reconciler.orders", 0, -1),
            ("BRPOP", "reconciler.orders", 1),
            ("DEL", "reconciler.orders"),
            ("LPUSH", "reconciler.ticks", "a message"),
            ("LPUSH", "celery", "a message"),
            # By which a worker can be stopped.
            ("PUBLISH", "/3.celery.pidbox", "a message"),
        ):
            assert_refused(client, *refused)


@pytest.mark.parametrize("user", [WORKER, PRODUCER], ids=["worker", "producer"])
def test_redis_gives_its_users_no_foreign_key_and_no_administration(
    user: tuple[str, str], broker: RedisOverTls
) -> None:
    with broker.client(*user) as client:
        for refused in (
            ("GET", "session:of-another-program"),
            ("KEYS", "*"),
            ("SCAN", 0),
            ("FLUSHDB",),
            ("FLUSHALL",),
            ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
            ("ACL", "SETUSER", user[0], "+@all"),
            ("EVAL", "return 1", 0),
            ("SHUTDOWN",),
            ("PUBLISH", "/2.celery.pidbox", "a message"),
        ):
            assert_refused(client, *refused)


def test_redis_takes_no_client_without_a_name(broker: RedisOverTls) -> None:
    with broker.client("default", "") as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()


def assert_refused(client: Any, *command: object) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


def test_the_users_of_a_mariadb_are_locked_until_they_have_passwords(mariadb: MariadbOverTls) -> None:
    mariadb.run((DEPLOY / "mariadb/grants.sql").read_text("utf-8").replace(OWNER, "unedited"))
    for user in ("unedited", "unedited_app"):
        url = make_url(mariadb.administrators_url).set(username=user, database="unedited")
        with pytest.raises(sqlalchemy.exc.OperationalError, match="this account is locked"):
            rows_of(url.render_as_string(hide_password=False), "SELECT 1")


def test_a_redis_does_not_start_until_its_users_have_passwords(tmp_path: Path) -> None:
    conf = tmp_path / "redis.conf"
    conf.write_text(f"port 0\ninclude {redis_users.FILE}\n", "utf-8")
    command = (needed("redis-server"), str(conf))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "user admin on #admin-sha256" in done.stdout + done.stderr
