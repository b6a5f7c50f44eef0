"""Each database error has its kind; the transient ones are retried, and lose nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from tests.support.sql import execute
from worker.cli.app import CommandError
from worker.cli.session import errors_in_one_line
from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.transactions import Database, is_contention, is_transient, is_unavailable
from worker.settings import Settings

pytestmark = pytest.mark.slow

INSERT = (
    "INSERT INTO rejected_orders (received_at, source, payload, errors)"
    " VALUES ('2026-01-31 00:00:00', 'test', '{}', '[]')"
)
TRIGGERS = {
    "postgresql": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON rejected_orders FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
    "mariadb": (
        "CREATE TRIGGER refuse BEFORE INSERT ON rejected_orders FOR EACH ROW"
        " SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = '{message}'",
    ),
}


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url, pool_size=1)
    try:
        yield database
    finally:
        database.close()


def name_of(url: str) -> str:
    return str(sqlalchemy.make_url(url).database)


def writable_again(name: str) -> tuple[str, str]:
    """Statements of one session that make a database of PostgreSQL writable again."""
    return (
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {name} SET default_transaction_read_only = off",
    )


def failing(database: Database, statement: str = INSERT) -> Exception:
    """The error of a transaction that writes."""
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError) as caught, database.write() as connection:
        connection.exec_driver_sql(statement)
    return caught.value


def assert_named(error: Exception, kind: ErrorKind) -> None:
    """The error is of this kind and transient, and a command's one line says what it is and what to do."""
    assert kind_of(error) is kind, error
    assert is_transient(error)
    assert is_contention(error) is (kind in (ErrorKind.LOCKED, ErrorKind.CONTENDED))
    assert is_unavailable(error) is (kind is ErrorKind.UNREACHABLE)
    with pytest.raises(CommandError) as raised, errors_in_one_line(Settings()):
        raise error
    assert str(raised.value).startswith(f"{kind.words} (")
    assert str(raised.value).endswith(f"): {kind.remedy}")
    assert "\n" not in str(raised.value)
    assert ("away" in str(raised.value)) is (kind is ErrorKind.UNREACHABLE)


# What a server says, and its kind. A server's own full disk is among the faults of tests/faults.
SAID: list[tuple[str, object, str, ErrorKind]] = [
    ("postgresql", "53100", "could not extend file: No space left on device", ErrorKind.FULL),
    ("mariadb", 1114, "The table rejected_orders is full", ErrorKind.FULL),
    ("mariadb", 1021, "Disk full (./orders)", ErrorKind.FULL),
    ("mariadb", 1030, "Got error 28 from storage engine InnoDB", ErrorKind.FULL),
    ("mariadb", 1026, "Error writing file ./binlog (errno: 28)", ErrorKind.FULL),
    ("mariadb", 3, "Error writing file ./x (Errcode: 28 No space left on device)", ErrorKind.FULL),
    ("mariadb", 1290, "The MariaDB server is running with the --read-only option", ErrorKind.READ_ONLY),
    ("mariadb", 1290, "The MySQL server is running with the --super-read-only option", ErrorKind.READ_ONLY),
    ("mariadb", 1836, "Running in read-only mode", ErrorKind.READ_ONLY),
    ("mariadb", 1036, "Table rejected_orders is read only", ErrorKind.READ_ONLY),
]


@pytest.mark.databases("postgresql", "mariadb")
def test_what_a_server_says_has_its_kind(migrated_database_url: str) -> None:
    server = "postgresql" if migrated_database_url.startswith("postgresql") else "mariadb"
    for _, code, message, kind in (one for one in SAID if one[0] == server):
        statements = [one.format(code=code, message=message) for one in TRIGGERS[server]]
        execute(migrated_database_url, *statements)
        with opened(migrated_database_url) as database:
            assert_named(failing(database), kind)
        execute(
            migrated_database_url, "DROP TRIGGER refuse" + (" ON rejected_orders" if server == "postgresql" else "")
        )


@pytest.mark.databases("sqlite")
def test_a_full_disk_of_sqlite(migrated_database_url: str) -> None:
    with opened(migrated_database_url) as database:
        # No pages beyond the present ones.
        event.listen(database.engine, "connect", lambda line, _: line.execute("PRAGMA max_page_count = 1"))
        payload = "x" * 100_000
        assert_named(failing(database, INSERT.replace("'{}'", f"'{payload}'")), ErrorKind.FULL)


# ------------------------------------------------------------------------------------------------------ read-only


@pytest.mark.databases("postgresql")
def test_a_read_only_postgresql_and_a_session_that_was_read_only_writes_later(migrated_database_url: str) -> None:
    name = name_of(migrated_database_url)
    with opened(migrated_database_url) as database:
        execute(migrated_database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        assert_named(failing(database), ErrorKind.READ_ONLY)
        execute(migrated_database_url, *writable_again(name))
        with database.write() as connection:
            connection.exec_driver_sql(INSERT)


@pytest.mark.databases("mariadb")
def test_a_read_only_transaction_of_mariadb(migrated_database_url: str) -> None:
    with opened(migrated_database_url) as database:
        event.listen(
            database.engine,
            "connect",
            lambda line, _: line.cursor().execute("SET SESSION TRANSACTION READ ONLY"),
        )
        assert_named(failing(database), ErrorKind.READ_ONLY)


@pytest.mark.databases("sqlite")
def test_a_read_only_file_of_sqlite(migrated_database_url: str) -> None:
    with opened(f"sqlite:///file:{name_of(migrated_database_url)}?mode=ro&uri=true") as database:
        assert_named(failing(database), ErrorKind.READ_ONLY)


# ---------------------------------------------------------------------------------------------------------- locks


@pytest.mark.databases("sqlite", "postgresql", "mariadb")
def test_a_lock_that_is_not_released_in_time(migrated_database_url: str) -> None:
    set_up = {
        "sqlite": "PRAGMA busy_timeout = 10",
        "postgresql": "SET lock_timeout = '10ms'",
        "mysql": "SET SESSION innodb_lock_wait_timeout = 1",
    }
    with opened(migrated_database_url) as holder, opened(migrated_database_url) as database:
        with holder.write() as connection:
            connection.exec_driver_sql(INSERT)

        def hurry(line: Any, _record: object) -> None:
            cursor = line.cursor()
            cursor.execute(set_up[database.engine.dialect.name])
            cursor.close()
            line.commit()

        event.listen(database.engine, "connect", hurry)
        with holder.write() as connection:
            connection.exec_driver_sql("UPDATE rejected_orders SET source = 'holder'")
            assert_named(failing(database, "UPDATE rejected_orders SET source = 'test'"), ErrorKind.LOCKED)


# ---------------------------------------------------------------------------------------------------- connections


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("whose", ["role", "database"])
def test_too_many_connections_to_postgresql(whose: str, migrated_database_url: str) -> None:
    url = sqlalchemy.make_url(migrated_database_url)
    role = f"{url.database}_role"
    limits = {
        "role": f"ALTER ROLE {role} CONNECTION LIMIT 0",
        "database": f"ALTER DATABASE {url.database} CONNECTION LIMIT 0",
    }
    execute(migrated_database_url, f"CREATE ROLE {role} LOGIN", limits[whose])
    try:
        with opened(url.set(username=role).render_as_string(hide_password=False)) as database:
            assert_named(failing(database), ErrorKind.CONNECTIONS)
    finally:
        execute(migrated_database_url, f"DROP ROLE {role}")


@pytest.mark.databases("mariadb")
def test_too_many_connections_to_mariadb(migrated_database_url: str) -> None:
    url = sqlalchemy.make_url(migrated_database_url)
    user = str(url.database)
    execute(
        migrated_database_url,
        f"CREATE USER {user}@'%%' WITH MAX_USER_CONNECTIONS 1",
        f"GRANT ALL ON {url.database}.* TO {user}@'%%'",
    )
    try:
        theirs = url.set(username=user).render_as_string(hide_password=False)
        with opened(theirs) as first, first.read(), opened(theirs) as database:
            assert_named(failing(database), ErrorKind.CONNECTIONS)
    finally:
        execute(migrated_database_url, f"DROP USER {user}@'%%'")


@pytest.mark.parametrize(
    "words",
    [
        "FATAL:  sorry, too many clients already",
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "FATAL:  no more connections allowed (max_client_conn)",
        "FATAL:  query_wait_timeout",
    ],
)
def test_too_many_connections_in_other_messages(words: str) -> None:
    message = f'connection failed: connection to server at "127.0.0.1", port 5432 failed: {words}'
    error = sqlalchemy.exc.OperationalError(None, None, psycopg.OperationalError(message))
    assert_named(error, ErrorKind.CONNECTIONS)


@pytest.mark.databases("sqlite")
def test_all_connections_of_this_process_are_in_use(migrated_database_url: str) -> None:
    error = sqlalchemy.exc.TimeoutError("QueuePool limit of size 20 overflow 0 reached")
    assert (kind_of(error), is_transient(error)) == (ErrorKind.POOL, True)


# ---------------------------------------------------------------------------------------- unreachable, or refusing


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_that_does_not_run_is_away(kind: str) -> None:
    url = str(Settings(database_url=f"{kind}://somebody@127.0.0.1:9/orders").database_dsn)
    with opened(url) as database:
        assert_named(failing(database), ErrorKind.UNREACHABLE)


@pytest.mark.databases("sqlite")
def test_a_folder_that_does_not_exist_holds_no_database(migrated_database_url: str, tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/nowhere/orders.db") as database:
        assert_named(failing(database), ErrorKind.UNREACHABLE)


@pytest.mark.databases("postgresql", "mariadb")
def test_a_server_that_refuses_the_password_is_not_away(migrated_database_url: str) -> None:
    stranger = sqlalchemy.make_url(migrated_database_url).set(username="nobody_knows_me", password="wrong")
    with opened(stranger.render_as_string(hide_password=False)) as database:
        assert_named(failing(database), ErrorKind.REFUSED)


@pytest.mark.databases("postgresql", "mariadb")
def test_a_session_that_was_ended_is_away(migrated_database_url: str) -> None:
    with opened(migrated_database_url) as database:
        find, end = {
            "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
            "mysql": ("SELECT connection_id()", "KILL {}"),
        }[database.engine.dialect.name]
        with database.engine.connect() as connection:
            execute(migrated_database_url, end.format(connection.exec_driver_sql(find).scalar_one()))
            with pytest.raises(DBAPIError) as caught:
                connection.exec_driver_sql(INSERT)
    assert_named(caught.value, ErrorKind.UNREACHABLE)


@pytest.mark.parametrize("sqlstate", ["53200", "57014", "25P03"])
def test_other_errors_of_a_server_are_transient_and_not_called_away(sqlstate: str) -> None:
    cause = psycopg.errors.lookup(sqlstate)("canceling statement")
    error = sqlalchemy.exc.OperationalError("SELECT 1", None, cause)
    assert_named(error, ErrorKind.OTHER)


@pytest.mark.parametrize(
    "error",
    [
        sqlalchemy.exc.ProgrammingError("SELECT", None, psycopg.errors.UndefinedTable("no such table")),
        sqlalchemy.exc.ProgrammingError("SELECT", None, psycopg.ProgrammingError("cannot adapt type 'object'")),
        sqlalchemy.exc.DataError("SELECT", None, psycopg.DataError("text fields cannot contain NUL")),
        sqlalchemy.exc.ProgrammingError("SELECT", None, pymysql.err.ProgrammingError(1146, "no such table")),
        sqlalchemy.exc.DatabaseError("SELECT", None, sqlite3.DatabaseError("database disk image is malformed")),
        ValueError("ours"),
    ],
)
def test_a_mistake_of_ours_is_not_transient(error: Exception) -> None:
    assert kind_of(error) is None
    assert not is_transient(error)
    with pytest.raises(type(error)), errors_in_one_line(Settings()):
        raise error


@pytest.mark.databases("sqlite", "postgresql", "mariadb")
def test_the_text_of_an_error_does_not_hold_what_was_written(migrated_database_url: str) -> None:
    statement = sqlalchemy.text("INSERT INTO nowhere (mobile) VALUES (:mobile)")
    with opened(migrated_database_url) as database:
        with pytest.raises(DBAPIError) as caught, database.write() as connection:
            connection.execute(statement, {"mobile": "13912345678"})
        assert "nowhere" in str(caught.value)
        assert "13912345678" not in str(caught.value)
