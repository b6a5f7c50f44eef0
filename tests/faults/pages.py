"""A bound on the size of a testbed's SQLite file. SQLite bounds it by connection, so each connection sets it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

_MARK = "no-page-more"
_MOST_PAGES = 2**31 - 2


@contextmanager
def no_page_more(folder: Path) -> Iterator[None]:
    """The programs of the testbed get `database or disk is full` where the file would have to grow."""
    mark = folder / _MARK
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()


def bound_pages(folder: Path, connection: Connection) -> None:
    """Bound the file for this connection, as the scenario has set it. To be called at the start of each transaction."""
    # A bound below the file's size is that size.
    pages = 1 if (folder / _MARK).exists() else _MOST_PAGES
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").close()
