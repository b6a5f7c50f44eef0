"""Transactions that are held open: a test can act between an operation's last statement and its commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from worker.database.transactions import Database


class HeldDatabase(Database):
    """Runs `before_commit` at the end of each transaction that writes, before it is committed."""

    def __init__(self, url: str, before_commit: Callable[[], None]) -> None:
        super().__init__(url)
        self._before_commit = before_commit

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction of the real database, whose commit waits for the test's own action."""
        with super().write() as connection:
            yield connection
            self._before_commit()
