"""The steps of `.ci/run`, and which of them run side by side."""

import os
import sys
from collections.abc import Mapping, Sequence

from tests.ci.running import Step

SERVICES = {
    "RECONCILER_TEST_POSTGRES_URL": "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    "RECONCILER_TEST_MARIADB_URL": "mysql+pymysql://root@127.0.0.1:3306/test?charset=utf8mb4&ssl_disabled=true",
    "RECONCILER_TEST_REDIS_URL": "redis://127.0.0.1:6379/15",
    "RECONCILER_TEST_RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:5672//",
}
"""The services that the tests are given, unless the environment names others. Only steps that need one get its name."""


def services(*names: str) -> Mapping[str, str]:
    """The variables of these services; of all where none is named."""
    wanted = {f"RECONCILER_TEST_{name.upper()}_URL" for name in names} or SERVICES.keys()
    return {variable: _GIVEN[variable] for variable in wanted}


_GIVEN = {variable: os.environ.get(variable) or url for variable, url in SERVICES.items()}


def environment() -> Mapping[str, str]:
    """Variables of every step: no service, all programs, and what the table of the slowest tests is made of."""
    return {
        **dict.fromkeys(SERVICES, ""),
        "RECONCILER_TEST_PROGRAMS": "required",
        "PYTEST_ADDOPTS": "--durations=20 --durations-min=1",
    }


_OURS = "python{}.{}".format(*sys.version_info)
# Those beside the one of .venv, which runs all tests.
_OTHER_PYTHONS = " ".join(python for python in ("python3.11", "python3.13") if python != _OURS)

PREPARATION: Sequence[Step] = (
    Step(name="setup", title="the environment", command="make setup"),
    Step(name="programs", title="programs that some tests need", command=".ci/programs"),
    Step(name="services", title="services of this machine", command=".ci/services", environment=services()),
)
"""What every step needs. It is repeated with each, and takes a moment then."""

_FAULTS = (
    Step(name="faults", title="every fault, a few times", command="make faults FAULTS_FLAGS=--ci"),
    Step(
        name="variants",
        title="the checker of the faults, against broken variants",
        command=".venv/bin/pytest -m faults --numprocesses=2 --dist=load tests/faults",
    ),
    Step(name="deploy", title="each file of deploy/, by the program that it is for", command="make test-deploy"),
    Step(name="docs", title="the documents as a site", command="make docs"),
    # The tests that share a given broker run one after the other.
    Step(
        name="brokers",
        title="tests of the brokers, on this machine's",
        command=".venv/bin/pytest -m 'service and shared_broker and not install'",
        environment=services(),
    ),
    Step(
        name="install",
        title="the documented install, in an empty environment, on both brokers",
        command=".venv/bin/pytest -m install tests/acceptance",
        environment=services(),
    ),
)
_TESTS = (
    Step(name="lint", title="style, types, import rules", command="make lint"),
    Step(
        name="measured",
        title="quick tests on SQLite, and some programs, with the coverage gates",
        command="make test-measured TEST_PROCESSES=2",
        environment=services("mariadb"),
    ),
    Step(
        name="slow",
        title="the other slow tests, without those of PostgreSQL and MariaDB",
        command="make test-slow TEST_PROCESSES=2",
        environment=services("mariadb"),
    ),
    # Always the same seed: the result must depend on the change, not on the platforms drawn. New ones: make platforms.
    Step(name="platforms", title="200 random platforms", command="make platforms COUNT=200 SEED=1000"),
)
_OTHERS = (
    Step(
        name="databases",
        title="all tests of PostgreSQL and MariaDB",
        command="make test-databases TEST_PROCESSES=2",
        environment=services("mariadb"),
    ),
    # Statements, plans, migrations and errors may differ from those of the release that the tests bring.
    Step(
        name="postgresql",
        title="what depends on the release of PostgreSQL, on this machine's",
        command=(
            ".venv/bin/pytest --numprocesses=2 --dist=loadfile -m 'service and not shared_broker and not install'"
            " -k postgresql tests/contract tests/integration/test_*plans.py"
            " tests/integration/test_{database_error_kinds,migrations,postgresql_sessions,schema}.py"
        ),
        environment=services("postgres"),
    ),
    Step(
        name="pythons",
        title="unit tests on the oldest and the newest Python",
        command=f"make test-pythons PYTHONS='{_OTHER_PYTHONS}' MISSING=fail",
    ),
    Step(name="model", title="the budget's protocol, model-checked", command="make model"),
)

LANES: Sequence[Sequence[Step]] = (_FAULTS, _TESTS, _OTHERS)
"""Lanes run side by side, the steps of a lane one after the other; the three take about the same time.

Two lanes left a processor idle at times. Three keep both busy, with two processes of tests in a lane and four testbeds
of faults. With more, each process was ten times slower, and what a slow process misses fails by chance.
"""
