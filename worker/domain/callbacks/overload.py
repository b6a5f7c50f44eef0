"""When a callback is refused at once and waits for no commit: the database does not answer, or a lock lasts."""

from dataclasses import dataclass, replace
from enum import Enum

SILENT_SECONDS = 1.5
"""A commit that runs for longer is taken for one that the database does not answer: longer than a row is waited for."""
MOST_WAITING = 12
"""So many items wait at most once a lock was not to be had: fewer than the process has threads, so that those that come
besides are refused at once, instead of waiting for a thread first."""
_TEST_SECONDS = 1.0
_TROUBLED_SECONDS = 5.0
_LOCKED_BEFORE_AWAY = 2


class CommitEnd(Enum):
    """How a commit has ended."""

    DONE = "committed, or failed for a reason of its own"
    LOCKED = "a lock was not to be had in time, for several items together, or for the same one again"
    LOCKED_ALONE = "the same for one item"
    AWAY = "the database could not be reached, went away or kept silent"


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitHealth:
    """What the commits of a process say about the database. Times are seconds of a monotonic clock."""

    running_since: float | None = None
    """When the commit under way began; None while there is none."""
    tested_from: float | None = None
    """The last commit found the database away: from then on one more item is taken, as a test. None after any other."""
    locked_at: float | None = None
    """When a lock was not to be had last; None for never."""
    locked_in_row: int = 0
    """How many single items in a row it was not to be had for."""

    @property
    def is_away(self) -> bool:
        """Whether the last commit found the database away, or that a lock lasts."""
        return self.tested_from is not None

    def takes(self, now: float, *, waiting: int) -> bool:
        """Whether one more item may wait for its commit, besides so many."""
        if self.running_since is not None and now - self.running_since > SILENT_SECONDS:
            return False
        is_troubled = self.locked_at is not None and now - self.locked_at < _TROUBLED_SECONDS
        if is_troubled and waiting >= MOST_WAITING:
            return False
        return self.tested_from is None or now >= self.tested_from

    def taken(self, now: float) -> "CommitHealth":
        """After an item was taken. While the database is away it is the only one for a second."""
        return self if self.tested_from is None else replace(self, tested_from=now + _TEST_SECONDS)

    def begun(self, now: float) -> "CommitHealth":
        """After a commit has begun."""
        return replace(self, running_since=now)

    def ended(self, now: float, end: CommitEnd) -> "CommitHealth":
        """After it has ended. A lock that is not to be had for one item, and then for another, is no single row's: it
        counts as away."""
        ended = replace(self, running_since=None, tested_from=None)
        if end is CommitEnd.AWAY:
            return replace(ended, tested_from=now + _TEST_SECONDS, locked_in_row=0)
        if end is CommitEnd.DONE:
            return replace(ended, locked_in_row=0)
        locked_in_row = self.locked_in_row + (end is CommitEnd.LOCKED_ALONE)
        tested_from = now + _TEST_SECONDS if locked_in_row >= _LOCKED_BEFORE_AWAY else None
        return replace(ended, tested_from=tested_from, locked_at=now, locked_in_row=locked_in_row)
