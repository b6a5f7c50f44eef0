"""Decide when callbacks are refused at once, without waiting for a commit: when the database does not answer, or when a
lock is held for long."""

from dataclasses import dataclass, replace
from enum import Enum

SILENT_SECONDS = 1.5
"""If a commit runs for longer than this, the database counts as silent. The cause cannot be a locked row, because a
commit does not wait this long for one."""
MOST_WAITING = 12
"""How many callbacks may wait for their commit while a lock was not available a few seconds ago. This is less than the
number of the process's threads. So a thread is free to refuse further callbacks at once."""
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
    """The state of the database, as the commits of one process show it. Times are seconds of a monotonic clock."""

    running_since: float | None = None
    """When the commit in progress began; None if there is none."""
    tested_from: float | None = None
    """When one more callback may be taken, to test the database; None if the database does not count as away."""
    locked_at: float | None = None
    """When a commit last failed because it did not get a lock; None if this has never happened."""
    locked_in_row: int = 0
    """How many callbacks that were committed alone, one after the other, did not get a lock."""

    @property
    def is_away(self) -> bool:
        """Whether the database counts as away: the last commit did not reach it, or several commits in a row did not
        get a lock."""
        return self.tested_from is not None

    def takes(self, now: float, *, waiting: int) -> bool:
        """Whether one more callback may wait for its commit, while `waiting` other callbacks wait for theirs."""
        if self.running_since is not None and now - self.running_since > SILENT_SECONDS:
            return False
        is_troubled = self.locked_at is not None and now - self.locked_at < _TROUBLED_SECONDS
        if is_troubled and waiting >= MOST_WAITING:
            return False
        return self.tested_from is None or now >= self.tested_from

    def taken(self, now: float) -> "CommitHealth":
        """Return the health after a callback was taken. While the database counts as away, no other callback is taken
        for a second."""
        return self if self.tested_from is None else replace(self, tested_from=now + _TEST_SECONDS)

    def begun(self, now: float) -> "CommitHealth":
        """Return the health after a commit has begun."""
        return replace(self, running_since=now)

    def ended(self, now: float, end: CommitEnd) -> "CommitHealth":
        """Return the health after a commit has ended. If two callbacks in a row, each committed alone, do not get a
        lock, the cause is not the lock of one row. Then the database counts as away."""
        ended = replace(self, running_since=None, tested_from=None)
        if end is CommitEnd.AWAY:
            return replace(ended, tested_from=now + _TEST_SECONDS, locked_in_row=0)
        if end is CommitEnd.DONE:
            return replace(ended, locked_in_row=0)
        locked_in_row = self.locked_in_row + (end is CommitEnd.LOCKED_ALONE)
        tested_from = now + _TEST_SECONDS if locked_in_row >= _LOCKED_BEFORE_AWAY else None
        return replace(ended, tested_from=tested_from, locked_at=now, locked_in_row=locked_in_row)
