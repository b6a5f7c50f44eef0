"""What monitoring reports: values that `worker.words.monitoring_findings` says in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Level(IntEnum):
    """How grave a finding is; the exit status of `reconciler status --check`."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


class FindingKind(StrEnum):
    """What is found: its stable name, and behind a point which of the cases it is where there are several."""

    NO_WORKER = "no_tick.none"
    WORKERS_AWAY = "no_tick.away"
    WORKER_KILLED = "no_tick.killed"
    """The last one of those that are away did not end in order."""
    NO_TICK = "no_tick.late"
    HANGS = "no_tick.hangs"
    NEVER_TICKED = "no_tick.never"
    NO_BROKER = "no_broker.all"
    NO_BROKER_SOMEWHERE = "no_broker.some"
    NO_BEAT = "no_beat"
    ANOTHER_DATABASE = "database_changed.now"
    DATABASE_CHANGED = "database_changed.lately"
    DATABASE_CHANGES = "database_changed.often"
    PAUSED = "paused"
    OUTAGE = "outage"
    BACK_OFF = "back_off"
    BACK_OFF_BECAUSE = "back_off.because"
    TOO_FREQUENT = "too_frequent"
    BACKLOG = "backlog"
    NOT_SERVED = "not_served"
    NEVER_QUERIED = "nothing_asked.never"
    NOT_QUERIED = "nothing_asked"
    ATTENTION = "attention"
    ENDPOINT_STOPPED = "endpoint_stopped"
    ENDPOINT_FAILING = "endpoint_failing"
    ENDPOINT_MISSING = "endpoint_missing"
    NOTIFICATIONS_UNSENT = "notifications_unsent"
    NOTIFICATIONS_LATE = "notifications_late"
    NOTIFICATIONS_GAVE_UP = "notifications_gave_up"

    @property
    def stable_name(self) -> str:
        """The name by which programs know it."""
        return self.value.partition(".")[0]


class BackOffReason(StrEnum):
    """Why an account backs off, where its last query does not say it."""

    CONFIGURATION_REFUSED = "configuration_refused"
    TOO_FREQUENT = "too_frequent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something to report."""

    kind: FindingKind
    level: Level = Level.WARNING
    account: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    """What its sentence names: durations, counts, names."""

    @property
    def name(self) -> str:
        """The name by which programs know it."""
        return self.kind.stable_name
