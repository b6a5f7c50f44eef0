"""Virtual time and killed processes: what the product code can neither see nor choose."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from sqlalchemy import Connection

from worker.database.transactions import Database

_EPOCH = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Death(BaseException):
    """The process is gone, as after kill -9: nothing of it runs on. Not an Exception, so that no handler catches it."""


class Moment(Enum):
    """Where in a transaction a process dies."""

    BEFORE_COMMIT = "before"
    AFTER_COMMIT = "after"


@dataclass(frozen=True, slots=True)
class Doom:
    """The death planned for an action: at its transaction number `transaction`, counted from 0."""

    transaction: int
    moment: Moment


class World:
    """True time, in whole milliseconds, and how far the database's clock is off."""

    def __init__(self) -> None:
        self.ms = 0
        self.database_ahead_ms = 0
        self.stepped_back_ms = 0
        """All steps back together: what the database's clock decides may come so much later."""
        self._doom: Doom | None = None
        self._transactions = 0

    def pass_time(self, seconds: float) -> None:
        """Let time pass, everywhere."""
        self.ms += round(seconds * 1000)

    def step_database_clock(self, seconds: float) -> None:
        """Set the database's clock forward or back."""
        self.database_ahead_ms += round(seconds * 1000)
        self.stepped_back_ms += max(0, round(-seconds * 1000))

    @property
    def database_now(self) -> datetime:
        """What the database's clock shows."""
        return _EPOCH + timedelta(milliseconds=self.ms + self.database_ahead_ms)

    @contextmanager
    def doomed(self, doom: Doom | None) -> Iterator[None]:
        """Plan a death for one action; it is dropped when the action ends."""
        self._doom, self._transactions = doom, 0
        try:
            yield
        finally:
            self._doom = None

    def at(self, moment: Moment) -> None:
        """Die here, if it is time."""
        doom = self._doom
        if doom is not None and doom.moment is moment and doom.transaction == self._transactions:
            raise Death
        if moment is Moment.AFTER_COMMIT:
            self._transactions += 1


class VirtualDatabase(Database):
    """The real database, with a clock that the test sets, and with processes that die around its commits."""

    world = World()

    def now(self, connection: Connection) -> datetime:
        """The time of the clock that the test sets."""
        return self.world.database_now

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction of the real database, during which the process may die."""
        with super().write() as connection:
            yield connection
            self.world.at(Moment.BEFORE_COMMIT)
        self.world.at(Moment.AFTER_COMMIT)


class BootClock:
    """One boot of one host: it counts from its own zero, and never steps."""

    def __init__(self, world: World, boot_id: str, uptime_seconds: float) -> None:
        self.boot_id = boot_id
        self._world = world
        self._zero_ms = world.ms - round(uptime_seconds * 1000)

    def boot(self) -> float:
        """Seconds since that zero."""
        return (self._world.ms - self._zero_ms) / 1000

    def now(self) -> datetime:
        """The host's wall clock; no decision depends on it."""
        return self._world.database_now
