"""What the contract tests share."""

from collections.abc import Iterator

import pytest

from tests.support.reconciling import Workbench


@pytest.fixture
def bench(migrated_database_url: str) -> Iterator[Workbench]:
    """One process's parts on a migrated database, with an open slot."""
    bench = Workbench(migrated_database_url).open()
    yield bench
    bench.close()
