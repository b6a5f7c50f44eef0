"""Clocks that run ahead, so that no pass has to wait for its slot."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.adapters.clock import HostClock
from worker.database.transactions import Database


class BootClock(HostClock):
    """A boot clock that can be moved ahead, past any wait for a slot."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def boot(self) -> float:
        """Seconds, including those by which it was moved."""
        return super().boot() + self.ahead


class VirtualDatabase(Database):
    """A database whose clock is moved: the time of the tables goes on where their last run ended, whatever the date."""

    moved = timedelta(0)

    def now(self, connection: Connection) -> datetime:
        """The database's clock, moved."""
        return super().now(connection) + self.moved
