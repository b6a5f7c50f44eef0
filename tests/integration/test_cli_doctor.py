"""`reconciler doctor`, with real servers."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery
from kombu import Connection, Queue

from tests.support import services
from tests.support.command_line import ACCOUNT, TOKEN, CommandLine
from tests.support.databases import DatabaseServer, Postgresql
from tests.support.plain_role import least_role
from tests.support.server_process import free_port
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from tests.support.sql import execute
from tests.support.waiting import eventually
from worker.database.migrations import upgrade
from worker.doctor import readings

LOOPBACK = "http://127.0.0.1:9"
ALWAYS_LOOKED_AT = (
    *("settings", "credentials", "database", "database_revision", "query_window", "database_clock"),
    *("database_identity", "versions"),
    *("broker", "platform_host"),
)


@pytest.fixture(scope="module")
def careless_postgresql(request: pytest.FixtureRequest) -> Iterator[Postgresql]:
    """A PostgreSQL with fsync off: the tests' own, unless another one is given."""
    if services.given(services.POSTGRES) is None:
        yield request.getfixturevalue("postgresql_server")
        return
    with EmbeddedPostgres() as embedded:
        server = Postgresql(embedded.url)
        yield server
        server.close()


def examined(status: int = 0, *, account: Mapping[str, str] = ACCOUNT, **settings: str) -> dict[str, Any]:
    """The doctor's findings by name; it must end with this status."""
    given = {f"RECONCILER_{name.upper()}": value for name, value in settings.items()}
    variables = {"RECONCILER_PLATFORM_URL": LOOPBACK, **account, **given}
    return CommandLine(variables).checks(status=status)


Examine = Callable[..., dict[str, Any]]


@pytest.fixture
def examine(sqlite_server: DatabaseServer, own_valkey: EmbeddedValkey) -> Iterator[Examine]:
    """Examines a database and a broker with which nothing is wrong, but for what a test gives."""
    with sqlite_server.migrated(upgrade) as url:
        yield partial(examined, database_url=url, broker_url=own_valkey.url)


def test_a_module_of_the_folder_that_celery_would_load_as_the_worker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A folder without modules comes after every package.
    Path("worker").mkdir()
    assert "working_folder" not in examined(1, database_url="sqlite:///orders.db")
    Path("worker.py").touch()
    found = examined(1, database_url="sqlite:///orders.db")["working_folder"]
    assert found["status"] == "fatal"
    assert found["detail"] == f"celery -A worker loads {tmp_path}/worker.py here, and not this program"


def test_where_all_is_well_nothing_needs_doing(migrated_database_url: str, redis_url: str) -> None:
    found = examined(database_url=migrated_database_url, broker_url=redis_url)
    for name in ALWAYS_LOOKED_AT:
        assert (found[name]["status"], found[name]["remedy"]) == ("ok", None), found[name]
    urls = {"RECONCILER_DATABASE_URL": migrated_database_url, "RECONCILER_BROKER_URL": redis_url}
    given = {**ACCOUNT, "RECONCILER_PLATFORM_URL": LOOPBACK, **urls}
    shown = CommandLine(given).run("doctor").stdout.splitlines()
    assert len(shown) == len(found) + 1
    assert [line.split()[0].lower() for line in shown[:-1]] == [check["status"] for check in found.values()]


def test_a_database_that_does_not_wait_for_the_disk_is_a_warning(
    careless_postgresql: Postgresql, own_valkey: EmbeddedValkey
) -> None:
    with careless_postgresql.migrated(upgrade) as url:
        found = examined(database_url=url, broker_url=own_valkey.url)
    assert (found["fsync"]["status"], found["synchronous_commit"]["status"]) == ("warning", "ok")
    assert found["fsync"]["detail"] == "off: a power cut can destroy the database"


def test_settings_that_a_server_does_not_show_are_warnings(
    careless_postgresql: Postgresql, own_valkey: EmbeddedValkey
) -> None:
    with careless_postgresql.migrated(upgrade) as url:
        execute(url, "REVOKE EXECUTE ON FUNCTION current_setting(text, boolean) FROM PUBLIC")
        with least_role(url) as outsider:
            found = examined(database_url=outsider.url, broker_url=own_valkey.url)
        # Other tests may use this database again.
        execute(url, "GRANT EXECUTE ON FUNCTION current_setting(text, boolean) TO PUBLIC")
    for name in ("fsync", "synchronous_commit"):
        assert (found[name]["status"], found[name]["detail"]) == ("warning", "could not be read")
    assert found["database_revision"]["status"] == "ok"


@pytest.mark.databases("mariadb")
def test_of_mariadb_the_flush_at_a_commit_is_checked(migrated_database_url: str, own_valkey: EmbeddedValkey) -> None:
    found = examined(database_url=migrated_database_url, broker_url=own_valkey.url)
    assert found["innodb_flush_log_at_trx_commit"]["detail"][0] in "0123"
    assert "MariaDB" in found["database"]["detail"]
    assert "fsync" not in found


@pytest.mark.parametrize(
    ("commands", "name", "status", "detail", "remedy"),
    [
        ("CONFIG SET maxmemory-policy allkeys-lru", "maxmemory_policy", "warning", "allkeys-lru: ", "noeviction"),
        ("ACL SETUSER default -info", "maxmemory_policy", "warning", "could not be read (", "noeviction"),
        ("", "persistence", "warning", "no persistence: ", "set appendonly yes"),
        ("CONFIG SET save 3600_1", "persistence", "ok", "snapshots: ", ""),
        ("CONFIG SET appendonly yes", "persistence", "ok", "appendonly yes", ""),
        ("ACL SETUSER default -config", "persistence", "warning", "unknown: it could not be read (", "see "),
        ("SET celery no_list", "default_queue", "warning", "unknown: it could not be read (", "see "),
    ],
)
def test_what_a_redis_would_lose_or_does_not_show_is_a_warning(
    examine: Examine, own_valkey: EmbeddedValkey, commands: str, name: str, status: str, detail: str, remedy: str
) -> None:
    if commands:
        with own_valkey.client() as client:
            client.execute_command(*(word.replace("_", " ") for word in commands.split()))
    found = examine()
    assert (found["broker"]["status"], found[name]["status"]) == ("ok", status)
    assert found[name]["detail"].startswith(detail)
    assert remedy in (found[name]["remedy"] or "")


def test_messages_that_were_sent_without_a_queue_are_a_warning(examine: Examine, own_valkey: EmbeddedValkey) -> None:
    with Celery(broker=own_valkey.url, set_as_current=False) as sender:
        for priority in (0, 9):
            sender.send_task("reconciler.enqueue_orders", args=[[]], priority=priority)
    found = examine()["default_queue"]
    assert (found["status"], found["detail"].partition(",")[0]) == (
        "warning",
        "2 messages wait in Celery's default queue",
    )
    assert 'queue="reconciler.orders"' in found["remedy"]


@pytest.mark.service
def test_a_queue_is_counted_on_every_broker(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not in Celery's default queue, which others may use on a shared broker.
    name = f"reconciler-tests-{os.getpid()}"
    monkeypatch.setattr(readings, "DEFAULT_QUEUE", name)

    def waiting() -> int:
        found, _ = readings.read_broker(broker_url, seconds=5).replies["default_queue"]
        return int(found or 0)

    assert waiting() == 0
    with Connection(broker_url) as connection:
        queue = Queue(name, channel=connection.default_channel)
        queue.declare()
        try:
            connection.Producer().publish({}, routing_key=name)
            counted = eventually(waiting, "one")
        finally:
            queue.delete()
    assert counted == 1


def test_an_env_file_that_others_can_read_is_a_warning(examine: Examine) -> None:
    Path(".env").write_text(f"RECONCILER_AUTH_TOKEN={TOKEN}\n")
    Path(".env").chmod(0o644)
    found = examine()["settings"]
    assert (found["status"], found["remedy"]) == ("warning", "chmod 600 .env")


def test_a_broker_that_is_away_is_a_warning(examine: Examine) -> None:
    found = examine(broker_url=f"redis://:sesame-street@127.0.0.1:{free_port()}/0")
    assert (found["broker"]["status"], found["maxmemory_policy"]["status"]) == ("warning", "skipped")
    assert "RECONCILER_BROKER_URL" in found["broker"]["remedy"]
    assert "sesame-street" not in str(found)


@pytest.mark.service
@pytest.mark.brokers("rabbitmq")
def test_a_rabbitmq_has_no_policy_to_check_and_its_refusal_is_shown(broker_url: str, examine: Examine) -> None:
    found = examine(broker_url=broker_url)
    assert (found["broker"]["status"], "maxmemory_policy" in found) == ("ok", False)
    known = urlsplit(broker_url)
    url = known._replace(netloc=f"stranger:sesame-street@{known.hostname}:{known.port}").geturl()
    found = examine(broker_url=url)
    assert (found["broker"]["status"], "ACCESS_REFUSED" in found["broker"]["detail"]) == ("warning", True)
    assert "sesame-street" not in str(found)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_database_that_is_away_is_fatal_and_hides_its_password(kind: str, own_valkey: EmbeddedValkey) -> None:
    url = f"{kind}://somebody:sesame-street@127.0.0.1:{free_port()}/orders"
    found = examined(1, database_url=url, broker_url=own_valkey.url)
    assert found["database"]["status"] == "fatal"
    for name in ("database_revision", "query_window", "database_clock"):
        assert (found[name]["status"], found[name]["detail"]) == ("skipped", "the database cannot be used")
    assert found["broker"]["status"] == "ok"
    assert "sesame-street" not in str(found)


def test_a_database_that_is_not_at_head_is_fatal(database_url: str, own_valkey: EmbeddedValkey) -> None:
    found = examined(1, database_url=database_url, broker_url=own_valkey.url)
    # An empty SQLite database is a file that does not exist yet.
    name = "database" if database_url.startswith("sqlite") else "database_revision"
    assert (found[name]["status"], found[name]["remedy"]) == ("fatal", "run `reconciler migrate`")


def test_without_an_account_no_query_can_be_sent(examine: Examine) -> None:
    found = examine(1, account={})["credentials"]
    assert (found["status"], "RECONCILER_ACCOUNT_SID" in found["remedy"]) == ("fatal", True)


def test_what_the_platform_would_not_know_is_a_warning(examine: Examine) -> None:
    # No resolver is queried for a name with an empty part.
    found = examine(platform_url="http://api..example")
    assert found["platform_host"]["status"] == "warning"
    assert "RECONCILER_PLATFORM_URL" in found["platform_host"]["remedy"]
    assert (found["credentials"]["status"], "app id" in found["credentials"]["detail"]) == ("warning", True)
    assert TOKEN not in str(found)


def test_settings_that_cannot_be_used_are_fatal_and_the_rest_is_skipped() -> None:
    found = examined(1, query_window_seconds="59", platform_url="http://api.example")
    assert found["settings"]["status"] == "fatal"
    assert found["settings"]["detail"].startswith("RECONCILER_QUERY_WINDOW_SECONDS is under 60")
    assert {check["status"] for name, check in found.items() if name != "settings"} == {"skipped"}


def test_the_doctor_sends_nothing_to_the_platform(examine: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as platform:
        examine(platform_url=f"http://127.0.0.1:{platform.getsockname()[1]}")
        platform.setblocking(False)
        with pytest.raises(BlockingIOError):
            platform.accept()
