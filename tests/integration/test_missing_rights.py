"""A role of the database that lacks a right: who notices it, and what they say."""

from collections.abc import Iterator

import pytest

from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.plain_role import PlainRole, least_role
from tests.support.servers import EmbeddedValkey
from worker.database.error_kinds import ErrorKind
from worker.database.server import needed_rights, read_missing_rights
from worker.settings import Settings
from worker.web.app import WebProcess

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql", "mariadb")]

TOKEN = "a-token-of-the-account-1"
PATH = f"/callbacks/default/{TOKEN}"
SERVED = {"account_sid": "s" * 32, "auth_token": "the-auth-token", "app_id": "app-1", "callback_token": TOKEN}
ALL = "SELECT, INSERT, UPDATE, DELETE"


@pytest.fixture
def role(migrated_database_url: str) -> Iterator[PlainRole]:
    """A login with just the rights that are needed."""
    with least_role(migrated_database_url) as role:
        yield role


def commands(role: PlainRole) -> CommandLine:
    return CommandLine(
        {**ACCOUNT, "RECONCILER_DATABASE_URL": role.url, "RECONCILER_PLATFORM_URL": "http://127.0.0.1:9"}
    )


def missing(role: PlainRole) -> list[str]:
    return [f"{right} on {thing}" for thing, rights in read_missing_rights(role.url).rights.items() for right in rights]


def test_each_right_to_each_table_is_tried(role: PlainRole) -> None:
    assert missing(role) == []
    for table, rights in needed_rights().items():
        for right in rights:
            role.revoke(right, table)
            assert missing(role) == [f"{right} on {table}"]
            role.grant(right, table)
    assert missing(role) == []


@pytest.mark.databases("postgresql")
def test_each_sequence_is_tried_and_no_id_is_spent(role: PlainRole) -> None:
    with role.owner.connect() as connection:
        statement = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"
        before: dict[str, int] = dict(connection.exec_driver_sql(statement).all())
        for sequence in before:
            role.revoke("USAGE", f"SEQUENCE {sequence}")
            assert missing(role) == [f"USAGE on {sequence}"]
            role.grant("USAGE", f"SEQUENCE {sequence}")
        assert dict(connection.exec_driver_sql(statement).all()) == before


def test_nothing_is_written_by_trying(role: PlainRole) -> None:
    with role.owner.connect() as connection:
        for table in needed_rights():
            if table not in ("alembic_version", "deployment"):
                assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0
        assert missing(role) == []
        for table in ("alembic_version", "deployment"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 1


@pytest.mark.databases("postgresql")
def test_the_doctor_warns_of_a_superuser(migrated_database_url: str, own_valkey: EmbeddedValkey) -> None:
    named = {"DATABASE_URL": migrated_database_url, "BROKER_URL": own_valkey.url, "PLATFORM_URL": "http://127.0.0.1:9"}
    cli = CommandLine({**ACCOUNT, **{f"RECONCILER_{name}": value for name, value in named.items()}})
    found = cli.checks()["database_rights"]
    assert (found["status"], "is a superuser" in found["detail"]) == ("warning", True)
    assert "docs/deployment.md" in found["remedy"]


def test_the_doctor_finds_missing_rights_fatal_and_names_them(role: PlainRole, own_valkey: EmbeddedValkey) -> None:
    cli = CommandLine({**commands(role).settings, "RECONCILER_BROKER_URL": own_valkey.url})
    found = cli.checks()
    assert (found["database_rights"]["status"], found["database_rights"]["remedy"]) == ("ok", None)
    role.revoke(ALL, "recharge_orders")
    role.revoke("INSERT", "order_events")
    found = cli.checks(status=1)
    assert found["database_rights"]["status"] == "fatal"
    detail = found["database_rights"]["detail"]
    assert detail.startswith(f"the role {role.name}")
    assert "SELECT, INSERT, UPDATE, DELETE on recharge_orders; INSERT on order_events" in detail
    assert "docs/deployment.md" in found["database_rights"]["remedy"]
    role.revoke("SELECT", "query_budgets")
    window = cli.checks(status=1)["query_window"]
    assert (window["status"], window["detail"]) == ("warning", "query_budgets could not be read")


def test_a_revision_that_may_not_be_read_is_no_missing_migration(role: PlainRole, own_valkey: EmbeddedValkey) -> None:
    cli = CommandLine({**commands(role).settings, "RECONCILER_BROKER_URL": own_valkey.url})
    role.revoke("SELECT", "alembic_version")
    database = cli.checks(status=1)["database"]
    assert database["status"] == "fatal"
    assert "denied" in database["detail"]
    assert "alembic_version" in database["detail"]
    assert "alembic_version" in cli.error("orders")


@pytest.mark.parametrize(
    ("right", "command"),
    [
        ("SELECT", ("orders",)),
        ("INSERT", ("enqueue", "-", "--format", "jsonl")),
    ],
)
def test_a_command_names_the_table_and_says_what_to_do(role: PlainRole, right: str, command: tuple[str, ...]) -> None:
    role.revoke(right, "recharge_orders")
    line = commands(role).error(*command, stdin=b'{"request_id": "r1"}\n')
    assert line.startswith("the database's role lacks a right (")
    assert "recharge_orders" in line
    assert "docs/deployment.md" in line
    assert "this should not happen" not in line


def test_callbacks_and_readiness_say_503_until_the_right_is_there_again(role: PlainRole) -> None:
    role.revoke("UPDATE", "recharge_orders")
    role.revoke("INSERT", "unmatched_callbacks")
    process = WebProcess(Settings(database_url=role.url, **SERVED))
    try:
        client = process.app().test_client()
        ready = client.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "the database's role lacks a right\n")
        answer = client.post(PATH, data=b'{"requestId": "r1", "trafficSts": "1"}')
        assert (answer.status_code, answer.text) == (503, "not committed: send it again")
        role.grant("UPDATE", "recharge_orders")
        role.grant("INSERT", "unmatched_callbacks")
        assert client.post(PATH, data=b'{"requestId": "r1", "trafficSts": "1"}').status_code == 200
    finally:
        process.close()
    process = WebProcess(Settings(database_url=role.url, **SERVED))
    try:
        assert process.app().test_client().get("/readyz").status_code == 200
    finally:
        process.close()


def test_the_rights_suffice_for_purges_of_many_transactions(role: PlainRole) -> None:
    old = "2026-01-01 00:00:00"
    role.execute(
        "INSERT INTO rejected_orders (received_at, source, payload, errors, repeats)"
        f" VALUES ('{old}', 'enqueue', '{{}}', '[]', 0)"
    )
    role.execute(
        "INSERT INTO unmatched_callbacks (received_at, account, request_id, payload, trust, repeats)"
        f" VALUES ('{old}', 'default', '1', '{{}}', 'settle', 0)"
    )
    purged = commands(role).run("purge", "--older-than", "30d", "--by", "ops", "--yes")
    assert "1" in purged.stdout


@pytest.mark.databases("postgresql")
def test_a_table_that_is_locked_is_no_missing_right(role: PlainRole) -> None:
    with role.owner.connect() as connection:
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            connection.exec_driver_sql("LOCK TABLE recharge_orders IN ACCESS EXCLUSIVE MODE")
            cli = commands(role)
            found = cli.checks()
    assert found["database_rights"]["status"] == "warning"
    assert found["database_rights"]["detail"].startswith("could not be tried (canceling statement due to lock timeout")


@pytest.mark.databases("postgresql")
def test_the_doctor_finds_a_read_only_database_fatal_and_names_it_as_readiness_does(
    role: PlainRole, own_valkey: EmbeddedValkey
) -> None:
    role.execute("ALTER ROLE {role} SET default_transaction_read_only = on")
    cli = CommandLine({**commands(role).settings, "RECONCILER_BROKER_URL": own_valkey.url})
    found = cli.checks(status=1)["database_writes"]
    assert found["detail"].startswith("the database is read-only (")
    assert (found["status"], found["remedy"]) == ("fatal", ErrorKind.READ_ONLY.remedy)


@pytest.mark.databases("sqlite")
def test_sqlite_has_no_rights(migrated_database_url: str) -> None:
    assert read_missing_rights(migrated_database_url).rights == {}
