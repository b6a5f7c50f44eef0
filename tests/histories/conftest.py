"""The database of the histories, and their silence."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.histories.world import VirtualDatabase
from worker.database.migrations import upgrade

IN_MEMORY = "sqlite:///file:/histories?vfs=memdb&uri=true"
"""SQLite's own file system in memory: one database for all connections of the process, locks and all."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """No log: thousands of passes would log thousands of lines."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def memory() -> Iterator[VirtualDatabase]:
    """SQLite in memory, migrated. It exists as long as a connection is open."""
    database = VirtualDatabase(IN_MEMORY)
    with database.engine.connect():
        upgrade(IN_MEMORY)
        yield database
    database.close()
