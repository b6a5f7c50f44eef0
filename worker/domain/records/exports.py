"""Files that the console makes in the background: who asked for one, and how far it has come."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MOST_RUNNING = 2
"""Exports that run at once, on all hosts; of one user one."""
KEPT = timedelta(hours=1)
"""After its end."""
LOST_AFTER = timedelta(minutes=1)
"""Without a sign of the process that writes it. It gives one every few seconds."""


class ExportState(StrEnum):
    """How an export stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    NOT_WRITTEN = "not_written"
    """The disk is full, or the folder may not be written."""
    DATABASE_AWAY = "database_away"
    STOPPED = "stopped"
    """Its process was stopped."""
    LOST = "lost"
    """Its process gives no sign any more."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedExport:
    """A file with all rows of a list that somebody asks for."""

    id: str
    """Random: the file is named by it."""
    user_name: str
    list_name: str
    filters: str
    """As the address of the list has them."""
    host: str
    """Where the file lies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Export(AskedExport):
    """The same while it is made, and after that."""

    state: ExportState
    row_count: int
    """Written so far."""
    asked_at: datetime
    seen_at: datetime
    """Of the last sign of the process that writes it."""
    ended_at: datetime | None = None

    def state_at(self, now: datetime) -> ExportState:
        """How it stands in truth: a process that has died changes nothing."""
        is_lost = self.state is ExportState.RUNNING and now - self.seen_at > LOST_AFTER
        return ExportState.LOST if is_lost else self.state
