"""How many single orders share the next batch, and for how many more messages the broker is asked meanwhile.

Numbers alone: `dispatch` holds the requests themselves and tells Celery.

A commit costs about a millisecond, whatever it holds. So one batch is under way at a time, and what comes meanwhile is
the next: one order that comes alone waits for nothing, and the more come, the more share a commit.
"""

MOST_TOGETHER = 250
"""Orders of one batch."""
MOST_HELD = 2 * MOST_TOGETHER
"""For so many messages room is made: one batch under way, and one that waits."""


class BatchWindow:
    """Counts the orders that wait and those that are under way, on one connection to the broker."""

    def __init__(self, batches_at_once: int) -> None:
        """`batches_at_once`: how many batches may be under way together."""
        self._batches_at_once = batches_at_once
        self._waiting = 0
        self._under_way = 0
        self._batches = 0
        self._most = MOST_TOGETHER

    @property
    def extra_prefetch(self) -> int:
        """How many messages the broker is asked for beyond what the processes work on.

        Each order that is held here makes room for one more, as Celery does it for tasks that are to be run later. So
        single orders are collected, while of lists no more are held than before.
        """
        return min(self._waiting + self._under_way, MOST_HELD)

    def arrive(self) -> None:
        """One more order waits."""
        self._waiting += 1

    def next_batch(self) -> int:
        """Begin a batch and return how many of the waiting orders it takes; 0 where none may begin now."""
        if self._batches >= self._batches_at_once:
            return 0
        count = min(self._most, self._waiting)
        if count:
            self._batches += 1
            self._waiting -= count
            self._under_way += count
        return count

    def end_batch(self, count: int, succeeded: bool) -> None:
        """A batch of so many orders has ended.

        While the database is away, each order that fails becomes a retry, which is held in memory: so the next batch
        is of one, and each that succeeds after that allows twice as many.
        """
        self._batches -= 1
        self._under_way -= count
        self._most = min(2 * self._most, MOST_TOGETHER) if succeeded else 1
