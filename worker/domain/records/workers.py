"""What a worker process says of itself, for people and programs that watch it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """One row of `worker_processes`. Times are by the database's clock."""

    name: str
    """Host, process id and start: another process never has it."""
    host: str
    pid: int
    started_at: datetime
    last_tick_at: datetime | None
    """When its last tick ended without an error; None before the first one has."""
    written_at: datetime
    clock_offset_seconds: float
    """The host's wall clock minus the database's."""
    accounts: tuple[str, ...] | None
    """The accounts in its settings: it polls the orders of no other. None where its release does not say."""
    broker_asked_at: datetime | None = None
    """When it last asked the broker whether it answers; None where its release does not ask, or it has not yet."""
    broker_answered_at: datetime | None = None
    """When the broker last answered it; None before it ever has."""
    last_beat_at: datetime | None = None
    """When it last received a tick's message; None where it never has. Beat sends one to some process each period."""
    database_identity: str | None = None
    """Of the database that it wrote the row in, as `DatabaseIdentity` has it; None where its release does not say."""
    hanging_since: datetime | None = None
    """When something under way in it made its last step that hangs since; None where nothing does. Such a process
    ends itself before long."""
