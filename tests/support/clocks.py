"""Boot clocks that let a test say how much time a step takes, however long the machine takes for it."""

from worker.adapters.clock import HostClock


class JumpingClock(HostClock):
    """Stands at 0 until it jumps; runs from there."""

    def __init__(self) -> None:
        super().__init__()
        self._jumped_to = 0.0
        self._jumped_at: float | None = None

    def jump(self, to: float) -> None:
        """Jump to a reading, and run from now on."""
        self._jumped_to, self._jumped_at = to, super().boot()

    def boot(self) -> float:
        """Seconds by this clock."""
        return self._jumped_to + (0.0 if self._jumped_at is None else super().boot() - self._jumped_at)


class SkippingClock(HostClock):
    """Runs as the host's does; after its next reading it skips `skip` seconds, once."""

    skip = 0.0
    _ahead = 0.0

    def boot(self) -> float:
        """Seconds by this clock."""
        now = super().boot() + self._ahead
        self._ahead, self.skip = self._ahead + self.skip, 0.0
        return now
