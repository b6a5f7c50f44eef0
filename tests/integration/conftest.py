"""The console, on the database of a test."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from tests.support.console import console_of
from tests.support.pages import Pages, pages_of
from tests.support.reconciling import Workbench


@pytest.fixture
def client(bench: Workbench) -> Iterator[FlaskClient]:
    """The console in English, as someone who may act sees it."""
    with console_of(bench.url) as opened:
        opened.set_cookie("language", "en")
        yield opened


@pytest.fixture
def pages(migrated_database_url: str) -> Iterator[Pages]:
    """The console as someone on this machine reads it, in either language."""
    with pages_of(migrated_database_url) as opened:
        yield opened
