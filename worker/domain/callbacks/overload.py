"""Decide when callbacks are refused at once and wait for no commit: the database is silent, or a lock lasts."""

from dataclasses import dataclass, replace
from enum import Enum

SILENT_SECONDS = 1.5
"""If a commit runs for longer, the database counts as silent. A commit does not wait this long for a locked row."""
MOST_WAITING = 12
"""How many items may wait shortly after a row stayed locked. They are fewer than the threads of the process, so further
items are refused at once and need not wait for a thread first."""
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
    """The state of the database, as seen by the commits of a process. Times are seconds of a monotonic clock."""

    running_since: float | None = None
    """When the commit in progress began; None if there is none."""
    tested_from: float | None = None
    """When one more item may be taken, as a test; None if the last commit did not find the database away."""
    locked_at: float | None = None
    """When a commit last failed to get a lock; None if none ever did."""
    locked_in_row: int = 0
    """How many single items in a row did not get a lock."""

    @property
    def is_away(self) -> bool:
        """Whether the last commit found the database away, or found that a lock lasts."""
        return self.tested_from is not None

    def takes(self, now: float, *, waiting: int) -> bool:
        """Whether one more item may wait for its commit while `waiting` others do."""
        if self.running_since is not None and now - self.running_since > SILENT_SECONDS:
            return False
        is_troubled = self.locked_at is not None and now - self.locked_at < _TROUBLED_SECONDS
        if is_troubled and waiting >= MOST_WAITING:
            return False
        return self.tested_from is None or now >= self.tested_from

    def taken(self, now: float) -> "CommitHealth":
        """Return the health after an item was taken. While the database is away, no other is taken for a second."""
        return self if self.tested_from is None else replace(self, tested_from=now + _TEST_SECONDS)

    def begun(self, now: float) -> "CommitHealth":
        """Return the health after a commit has begun."""
        return replace(self, running_since=now)

    def ended(self, now: float, end: CommitEnd) -> "CommitHealth":
        """Return the health after a commit has ended. If two single items in a row do not get a lock, it is not the
        lock of a single row, and the database counts as away."""
        ended = replace(self, running_since=None, tested_from=None)
        if end is CommitEnd.AWAY:
            return replace(ended, tested_from=now + _TEST_SECONDS, locked_in_row=0)
        if end is CommitEnd.DONE:
            return replace(ended, locked_in_row=0)
        locked_in_row = self.locked_in_row + (end is CommitEnd.LOCKED_ALONE)
        tested_from = now + _TEST_SECONDS if locked_in_row >= _LOCKED_BEFORE_AWAY else None
        return replace(ended, tested_from=tested_from, locked_at=now, locked_in_row=locked_in_row)
