"""A database that runs and refuses: read-only, full, out of connections, without a right."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from tests.faults.catalogue import SERVERS, fault
from tests.faults.outages import Outage, go_through
from tests.faults.pages import no_page_more
from tests.faults.posting import body_of, post, post_until_accepted
from tests.faults.strangers import engine_as, use_least_role, use_plain_role, without_right
from tests.faults.testbed import UNHURRIED, Testbed
from tests.support.plain_role import PlainRole
from tests.support.small_disk import filled_up, may_mount, small_disk
from tests.support.waiting import eventually

_MEGABYTES = 96
_FEW_CONNECTIONS = 24
# In a row, before a worker counts as without a connection.
_TIMES_REFUSED = 5
_Bound = Callable[[Testbed, PlainRole], AbstractContextManager[None]]


@fault(26, "a read-only database", times=6, times_in_ci=2, databases=SERVERS, scale=UNHURRIED, seconds=120)
def fault_26_the_database_is_read_only(testbed: Testbed) -> None:
    role = use_plain_role(testbed)
    testbed.start()
    read_only = partial(_read_only, testbed, role)
    go_through(testbed, {"read-only": read_only, "read-only again": read_only})


@contextmanager
def _read_only(testbed: Testbed, role: PlainRole) -> Iterator[None]:
    """Make the server read-only, like a standby or one that its administrator protects."""
    if testbed.database.kind == "postgresql":
        name, values = "default_transaction_read_only", ("on", "off")
        statements = [[f"ALTER SYSTEM SET {name} = {value}", "SELECT pg_reload_conf()"] for value in values]
    else:
        statements = [[f"SET GLOBAL read_only = {value}"] for value in (1, 0)]
    testbed.execute(*statements[0])
    try:
        eventually(lambda: not _may_write(role), "a database that refuses to write")
        yield
    finally:
        testbed.execute(*statements[1])


def _may_write(role: PlainRole) -> bool:
    with engine_as(role).connect() as connection:
        try:
            connection.exec_driver_sql("UPDATE rejected_orders SET id = id WHERE id = 0")
        except DBAPIError:
            return False
    return True


@fault(27, "a full database", times=9, times_in_ci=3, scale=UNHURRIED, seconds=120)
def fault_27_the_database_is_full(testbed: Testbed) -> None:
    # Present rows may still be changed, and new ones find space in present pages: some grants succeed.
    full = _full(testbed)
    testbed.start()
    go_through(testbed, {"full": full, "full again": full}, without_queries=False)


def _full(testbed: Testbed) -> Outage:
    """How this testbed's database is filled up: by a real disk on a server where one may be mounted."""
    if testbed.database.kind == "sqlite":
        return partial(no_page_more, testbed.folder)
    if may_mount():
        return partial(_disk_filled_up, testbed, testbed.enter(_on_small_disk(testbed)))
    testbed.observed("nothing may be mounted here: a trigger raises the error of a full database")
    return partial(_says_full, testbed)


@contextmanager
def _disk_filled_up(testbed: Testbed, folder: Path) -> Iterator[None]:
    """MariaDB may crash on a full disk, at any moment: here it is killed once there is space, and started again."""
    server = testbed.database.server
    assert server is not None
    with filled_up(folder):
        yield
    if testbed.database.kind == "mariadb":
        server.kill()
        server.start()


@contextmanager
def _on_small_disk(testbed: Testbed) -> Iterator[Path]:
    """The database's files, and nothing else of its server, on a disk of a few megabytes."""
    server = testbed.database.server
    assert server is not None
    name = sqlalchemy.make_url(testbed.database.direct_url).database
    if testbed.database.kind == "postgresql":
        [(oid,)] = testbed.rows(f"SELECT oid FROM pg_database WHERE datname = '{name}'")
        folder = server.data / "base" / str(oid)
    else:
        folder = server.data / str(name)
    server.stop()
    with ExitStack() as stack:
        stack.callback(server.start)
        stack.enter_context(small_disk(folder, _MEGABYTES))
        server.start()
        # Before the folder is moved back, and whatever happened to the server.
        stack.callback(server.stop)
        yield folder


_FULL = {
    "postgresql": (
        "CREATE FUNCTION say_full() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER say_full BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION say_full()",
    ),
    "mariadb": (
        "CREATE TRIGGER say_full_{table} BEFORE INSERT ON {table} FOR EACH ROW"
        " SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'",
    ),
}
_FULL_TABLES = ("recharge_orders", "order_events", "rejected_orders", "unmatched_callbacks")


@contextmanager
def _says_full(testbed: Testbed) -> Iterator[None]:
    *once, each = _FULL[testbed.database.kind]
    testbed.execute(*once, *(each.format(table=table) for table in _FULL_TABLES))
    try:
        yield
    finally:
        if testbed.database.kind == "postgresql":
            # One table at a time: a session that locks two may deadlock with a worker that locks them in reverse.
            testbed.execute(
                *(f"DROP TRIGGER say_full ON {table}" for table in _FULL_TABLES), "DROP FUNCTION say_full()"
            )
        else:
            testbed.execute(*(f"DROP TRIGGER say_full_{table}" for table in _FULL_TABLES))


@fault(28, "no connection free", times=6, times_in_ci=2, databases=SERVERS, scale=UNHURRIED, seconds=120)
def fault_28_no_connection_is_free(testbed: Testbed) -> None:
    role = use_plain_role(testbed)
    testbed.start()
    bounds = {"the server's connections taken": _server_bound, "the login's connections taken": _login_bound}
    go_through(testbed, {name: partial(_taken_up, testbed, role, bound) for name, bound in bounds.items()})


@contextmanager
def _server_bound(testbed: Testbed, role: PlainRole) -> Iterator[None]:
    """PostgreSQL's bound is set when it starts: it is 200 here. An administrator may still connect to both."""
    if testbed.database.kind == "postgresql":
        yield
        return
    [(bound,)] = testbed.rows("SELECT @@max_connections")
    testbed.execute(f"SET GLOBAL max_connections = {_FEW_CONNECTIONS}")
    try:
        yield
    finally:
        testbed.execute(f"SET GLOBAL max_connections = {bound}")


@contextmanager
def _login_bound(testbed: Testbed, role: PlainRole) -> Iterator[None]:
    if testbed.database.kind == "postgresql":
        change, none = f"ALTER ROLE {role.name} CONNECTION LIMIT {{}}", -1
    else:
        change, none = f"GRANT USAGE ON *.* TO {role.name}@'localhost' WITH MAX_USER_CONNECTIONS {{}}", 0
    testbed.execute(change.format(_FEW_CONNECTIONS))
    try:
        yield
    finally:
        testbed.execute(change.format(none))


@contextmanager
def _taken_up(testbed: Testbed, role: PlainRole, bound: _Bound) -> Iterator[None]:
    """Other programs with the same login take every connection; those of the worker break, and it gets no new one."""
    proxy = testbed.database.proxy
    assert proxy is not None
    over = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(bound(testbed, role))
        strangers = threading.Thread(target=_take_all, args=(engine_as(role), over), name="strangers")
        strangers.start()
        try:
            eventually(lambda: not _may_connect(role), "a database without a free connection")

            refused = 0

            def has_none() -> bool:
                # The cut connections become free, and are taken; the worker may be quicker, and is cut again. One that
                # it is making is not counted yet.
                nonlocal refused
                if proxy.connections() or _may_connect(role):
                    proxy.cut()
                    refused = 0
                    return False
                refused += 1
                return refused > _TIMES_REFUSED

            eventually(has_none, "a worker without a connection")
            yield
        finally:
            over.set()
            strangers.join()


def _take_all(engine: sqlalchemy.Engine, over: threading.Event) -> None:
    with ExitStack() as taken:
        while not over.wait(0.002):
            with suppress(DBAPIError):
                taken.enter_context(engine.connect())


def _may_connect(role: PlainRole) -> bool:
    try:
        engine_as(role).connect().close()
    except DBAPIError:
        return False
    return True


_ALL = "SELECT, INSERT, UPDATE, DELETE"
# Without one of these no grant can be committed.
_OF_GRANTS = (
    (_ALL, "recharge_orders"),
    ("UPDATE", "recharge_orders"),
    ("SELECT", "query_budgets"),
    ("UPDATE", "query_budgets"),
    ("INSERT", "platform_queries"),
)
_OF_RESULTS = (
    ("INSERT", "order_events"),
    ("UPDATE", "platform_queries"),
    ("UPDATE", "account_states"),
    ("INSERT", "unmatched_callbacks"),
    ("SELECT, INSERT, DELETE", "settlement_observations"),
)


@fault(
    48,
    "rights to tables revoked while everything runs, and granted again",
    times=8,
    times_in_ci=2,
    databases=SERVERS,
    scale=UNHURRIED,
    seconds=150,
)
def fault_48_rights_are_missing_for_a_while(testbed: Testbed) -> None:
    role = use_least_role(testbed)
    testbed.serve()
    worker = testbed.start()
    testbed.wait_until_settled(testbed.place(10))
    for kinds, without_queries in ((_OF_GRANTS, True), (_OF_RESULTS, False)):
        some = testbed.rng.sample(kinds, k=1 if testbed.is_brief else 2)
        outages: dict[str, Outage] = {
            f"{rights} on {table} revoked": partial(_revoked, testbed, role, rights, table) for rights, table in some
        }
        go_through(testbed, outages, without_queries=without_queries)
    assert "database_rights" in worker.output
    for action in ("task_failed", "pass_failed", "tick_failed"):
        assert f'"action": "{action}"' not in worker.output, f"a missing right was logged as a defect: {action}"


@contextmanager
def _revoked(testbed: Testbed, role: PlainRole, rights: str, table: str) -> Iterator[None]:
    (name,) = testbed.place(1, enqueue=False, outcome="1")
    body = body_of(testbed, name)
    with without_right(role, rights, table):
        yield
        eventually(lambda: _readiness(testbed) == 503, "a receiver that is not ready")
        status = post(testbed.serve_port, json.dumps(body).encode())
        assert status in (200, 503), f"a callback was answered {status}"
    eventually(lambda: _readiness(testbed) == 200, "a receiver that is ready again")
    post_until_accepted(testbed, body)
    testbed.enqueue([name])


def _readiness(testbed: Testbed) -> int | None:
    return post(testbed.serve_port, b"", path="/readyz", method="GET")
