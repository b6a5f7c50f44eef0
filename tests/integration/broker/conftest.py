"""Workers to whose broker anyone may write: one on Valkey for all tests of a file, one on RabbitMQ for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forging import Target
from tests.support.processes import environment, running_worker
from tests.support.servers import EmbeddedValkey
from worker.database.migrations import upgrade


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="module")
def log_level() -> str:
    """The log level of both workers; a file may override it."""
    return "INFO"


@pytest.fixture(scope="module")
def target(valkey: EmbeddedValkey, log_level: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("target")
    url = f"sqlite:///{folder / 'orders.db'}"
    upgrade(url)
    options = {"result_backend": valkey.url, "tick_seconds": 0.5, "log_level": log_level}
    with running_worker(environment(database_url=url, broker_url=valkey.url, **options), folder) as worker:
        yield Target(worker=worker, broker=valkey.url, database_url=url)


@pytest.fixture
def rabbit_target(migrated_database_url: str, broker_url: str, log_level: str, tmp_path: Path) -> Iterator[Target]:
    env = environment(database_url=migrated_database_url, broker_url=broker_url, log_level=log_level)
    with running_worker(env, tmp_path) as worker:
        yield Target(worker=worker, broker=broker_url, database_url=migrated_database_url)
