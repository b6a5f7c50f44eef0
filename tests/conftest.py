"""Servers, databases and brokers for every test.

A test that takes `database_url`, `migrated_database_url` or `broker_url` runs once for each server: SQLite,
those that RECONCILER_TEST_... variables name, and a PostgreSQL and a Valkey that the tests start where these name none.

RECONCILER_TEST_EXAMPLES=20 makes the long random tests (tests/histories, tests/fuzz) try twenty times as many examples.
"""

import gc
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

import hatch_build
from tests.support import services
from tests.support.brokers import remove_queues
from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.compiled_statements import share_compiled_statements
from tests.support.databases import DatabaseServer, Mariadb, Postgresql, Sqlite
from tests.support.racing import Race, racing
from tests.support.reconciling import Workbench
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey

Kinds = Mapping[str, str | None]

DATABASES: Kinds = {"sqlite": None, "postgresql": services.POSTGRES, "mariadb": services.MARIADB}
"""Each database, and the variable that names a server of its kind."""
BROKERS: Kinds = {"redis": services.REDIS, "rabbitmq": services.RABBITMQ}
ALWAYS_THERE = {"sqlite", "postgresql", "redis"}
"""The tests bring their own of these."""

# A busy machine is slow, not wrong; CI tries the same examples each time, so that it fails for the change alone.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
hypothesis.settings.load_profile("tests")

# Modules and tests are half a million objects that stay. With Python's own threshold, 700, garbage collections look
# through them over and over: that was a quarter of the processor time.
gc.set_threshold(20_000)


def pytest_configure() -> None:
    """Forget the settings of the user's environment, for the programs that tests start as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell lets what it starts in the background ignore it, and so would the programs that tests start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # So does `nohup`. A handler that does nothing keeps the tests running; a started program does not get it.
        signal.signal(signal.SIGHUP, lambda *_: None)
    for name in list(os.environ):
        if name.startswith("RECONCILER_") and not name.startswith("RECONCILER_TEST_"):
            del os.environ[name]
    # Commands speak English, also where the user has chosen another language.
    os.environ.pop("LC_ALL", None)
    os.environ.pop("LC_MESSAGES", None)
    os.environ["LANG"] = "C.UTF-8"
    share_compiled_statements()
    # In a checkout whose `make setup` is older than its words, too.
    hatch_build.compile_words(Path(__file__).parents[1])


def pytest_report_header() -> list[str]:
    """Which servers the tests use, without passwords."""
    own = {"sqlite": "files", "postgresql": "started from a wheel", "redis": "Valkey started from a wheel"}
    lines = []
    for title, kinds in (("databases", DATABASES), ("brokers", BROKERS)):
        where = [f"{name} ({_given_to(kinds, name) or own[name]})" for name in kinds if _is_there(kinds, name)]
        lines.append(f"{title}: {', '.join(where)}")
    return lines


def _given_to(kinds: Kinds, name: str) -> str | None:
    variable = kinds[name]
    url = services.given(variable) if variable else None
    return services.shown(url) if url else None


def _is_there(kinds: Kinds, name: str) -> bool:
    return name in ALWAYS_THERE or _given_to(kinds, name) is not None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each server, or for those that its marker names."""
    for fixture, kinds, marker in (
        ("database_server", DATABASES, "databases"),
        ("broker_kind", BROKERS, "brokers"),
    ):
        if fixture in metafunc.fixturenames:
            named = metafunc.definition.get_closest_marker(marker)
            names = named.args if named else tuple(name for name in kinds if _is_there(kinds, name))
            quick = metafunc.definition.get_closest_marker("quick_on")
            slow = set(DATABASES) - set(quick.args) if quick else set()
            metafunc.parametrize(fixture, [_parameter(kinds, name, name in slow) for name in names], indirect=True)


def pytest_collection_finish() -> None:
    """Leave alone, in each garbage collection from now on, what was loaded for the tests."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a broker which others may use, too: two at once would take each other's messages."""
    for item in items:
        if {"redis_url", "rabbitmq_url", "broker_kind"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.shared_broker)


def _parameter(kinds: Kinds, name: str, is_slow: bool) -> object:
    variable = kinds[name]
    marks = [pytest.mark.service] if variable else []
    if is_slow:
        marks.append(pytest.mark.slow)
    if name in ("mariadb", "postgresql"):
        marks.append(getattr(pytest.mark, name))
    if not _is_there(kinds, name):
        marks.append(pytest.mark.skip(reason=f"{variable} names no server"))
    return pytest.param(name, marks=marks)


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the checkout's .env, or leaves files in it."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Sqlite:
    """A folder for SQLite's files."""
    return Sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    """The PostgreSQL that was given, or one of the tests' own."""
    given = services.given(services.POSTGRES)
    with ExitStack() as stack:
        server = Postgresql(given or stack.enter_context(EmbeddedPostgres()).url)
        stack.callback(server.close)
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Mariadb]:
    """The MariaDB that was given."""
    given = services.given(services.MARIADB)
    assert given, f"{services.MARIADB} names no server"
    server = Mariadb(given)
    yield server
    server.close()


@pytest.fixture(scope="module")
def database_server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each database server, one after the other; for tests that need several databases of one server."""
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def database_url(database_server: DatabaseServer) -> Iterator[str]:
    """URL of an empty database of this test's own."""
    with database_server.empty() as url:
        yield url


@pytest.fixture(scope="module")
def migrated_module_url(database_server: DatabaseServer) -> Iterator[str]:
    """URL of a database at Alembic's head that all tests of a module share; they only read what is filled in once."""
    from worker.database.migrations import upgrade

    with database_server.migrated(upgrade) as url:
        yield url


@pytest.fixture
def migrated_database_url(database_server: DatabaseServer) -> Iterator[str]:
    """URL of a database of this test's own, at Alembic's head."""
    # Imported here, so that the tests that need no database run without the database's code.
    from worker.database.migrations import upgrade

    with database_server.migrated(upgrade) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The Redis that was given, or a Valkey of the tests' own. Others may use it: flush `own_valkey` instead."""
    given = services.given(services.REDIS)
    if given:
        yield given
    else:
        with EmbeddedValkey() as valkey:
            yield valkey.url


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """The RabbitMQ that was given."""
    given = services.given(services.RABBITMQ)
    assert given, f"{services.RABBITMQ} names no server"
    return given


@pytest.fixture
def broker_kind(request: pytest.FixtureRequest) -> str:
    """`redis`, and `rabbitmq` where there is one: the kind of `broker_url`."""
    kind: str = request.param
    return kind


@pytest.fixture
def broker_url(broker_kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a broker on which the project's two queues are empty, before and after."""
    url: str = request.getfixturevalue(f"{broker_kind}_url")
    remove_queues(url)
    yield url
    remove_queues(url)


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A running Valkey of this test's own, to be killed, stopped or flushed."""
    with EmbeddedValkey() as valkey:
        yield valkey


@pytest.fixture
def bench(migrated_database_url: str, request: pytest.FixtureRequest) -> Iterator[Workbench]:
    """One process's parts on a migrated database, with an open slot; with what the marker `workbench` names."""
    marker = request.node.get_closest_marker("workbench")
    bench = Workbench(migrated_database_url, **(marker.kwargs if marker else {})).open()
    yield bench
    bench.close()


@pytest.fixture
def race(migrated_database_url: str) -> Iterator[Race]:
    """Processes whose operations meet, on a migrated database."""
    with racing(migrated_database_url) as race:
        yield race


@pytest.fixture
def cli(migrated_database_url: str) -> CommandLine:
    """The commands, on the same database."""
    return CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": migrated_database_url})
