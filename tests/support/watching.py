"""A watchdog whose time the test moves, and the signs of a process that is well."""

from dataclasses import dataclass, field, fields
from typing import Any

from tests.support.reconciling import ManualClock
from worker.adapters.clock import HostClock
from worker.adapters.watchdog import Watchdog, Watched
from worker.operations.write_heartbeat import Signs

PATIENCE = 100.0


def unwatched() -> Watchdog:
    """One that never looks."""
    return Watchdog(HostClock(), patience_seconds=3600.0)


def signs_of_a_well_worker() -> Signs:
    """The signs of a process that has just ticked and heard of everything, and that found no other deployment."""
    just_now: dict[str, Any] = dict.fromkeys((one.name for one in fields(Signs)), lambda: 0)
    return Signs(**{**just_now, "other_deployment": lambda: None})


@dataclass
class Watching:
    """A watchdog that looks only when the test says so, and what it would have ended the process for."""

    clock: ManualClock = field(default_factory=ManualClock)
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dog = Watchdog(self.clock, patience_seconds=PATIENCE, period_seconds=1.0, end=self._end)

    def pass_time(self, seconds: int) -> None:
        """Let it look once a second for so long."""
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.dog.look()

    def hanging(self) -> set[str]:
        """What hangs now."""
        return set(self.all_hanging())

    def all_hanging(self) -> list[str]:
        """The same, each time that it does."""
        return [one.what for one in list(self.dog.under_way) if self.dog.seen - one.since > PATIENCE]

    def _end(self, watched: Watched, seconds: float) -> None:
        assert seconds > 2 * PATIENCE
        self.ended.append(watched.what)
