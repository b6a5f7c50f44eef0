"""When a callback is refused at once, as the database does not answer, instead of waiting for a commit."""

from dataclasses import dataclass, replace

SILENT_SECONDS = 1.5
"""A commit that runs for longer is taken for one that the database does not answer: longer than a row is waited for."""
_TEST_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitHealth:
    """What the commits of a process say about the database. Times are seconds of a monotonic clock."""

    running_since: float | None = None
    """When the commit under way began; None while there is none."""
    tested_from: float | None = None
    """The last commit found the database away: from then on one more item is taken, as a test. None after any other."""

    def takes(self, now: float) -> bool:
        """Whether one more item may wait for its commit."""
        if self.running_since is not None and now - self.running_since > SILENT_SECONDS:
            return False
        return self.tested_from is None or now >= self.tested_from

    def taken(self, now: float) -> "CommitHealth":
        """After an item was taken. While the database is away it is the only one for a second."""
        return self if self.tested_from is None else replace(self, tested_from=now + _TEST_SECONDS)

    def begun(self, now: float) -> "CommitHealth":
        """After a commit has begun."""
        return replace(self, running_since=now)

    def ended(self, now: float, *, is_away: bool) -> "CommitHealth":
        """After it has ended. `is_away`: the database could not be reached, went away or kept silent."""
        return CommitHealth(tested_from=now + _TEST_SECONDS if is_away else None)
