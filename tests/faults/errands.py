"""What a billing system sends, and whether it was applied: orders, callbacks and cancellations."""

from typing import Protocol

import redis
from kombu.exceptions import OperationalError

from tests.faults.testbed import Testbed
from tests.support.waiting import eventually


class Errand(Protocol):
    """Something that the billing system sends, and that must not be lost."""

    def send(self) -> None:
        """Send it; the testbed records what the broker accepted."""

    def is_applied(self) -> bool:
        """Whether the database shows what was sent, but for a message that the broker is known to have lost."""


class Enqueueing:
    """Good orders, and some that are refused."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self.names = testbed.place(12, enqueue=False)
        self._bad = testbed.place(3, enqueue=False)

    def send(self) -> None:
        self._testbed.enqueue(self.names)
        self._testbed.enqueue_refused(self._bad, mobile="188-0000")

    def is_applied(self) -> bool:
        sent = self._testbed.sent
        refused = "\n".join(row[0] for row in self._testbed.rows("SELECT payload FROM rejected_orders"))
        is_there = self._testbed.states().keys() >= {*self.names} & sent.orders
        return is_there and all(name in refused for name in {*self._bad} & sent.refused)


class CallingBack:
    """Callbacks for orders that are not enqueued yet: each is kept."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self.names = testbed.place(3, enqueue=False, outcome="1")

    def send(self) -> None:
        for name in self.names:
            self._testbed.call_back(name)

    def is_applied(self) -> bool:
        kept = {row[0] for row in self._testbed.rows("SELECT request_id FROM unmatched_callbacks")}
        return kept >= {*self.names} & {one["requestId"] for one in self._testbed.sent.callbacks}


class Cancelling:
    """Cancellations of orders that would be pending for ever."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._names = testbed.place(5, outcome="stuck")

    def send(self) -> None:
        self._testbed.cancel(self._names)

    def is_applied(self) -> bool:
        states = self._testbed.states()
        return all(states[name] == "cancelled" for name in {*self._names} & self._testbed.sent.cancelled)


TOLD = (OperationalError, redis.RedisError)
"""The errors by which kombu reports that the broker has not accepted a message."""
RECONNECTED = 20.0
"""Seconds until a worker takes messages again: Celery waits 2 s before the second attempt, and 2 s longer each time."""


def wait_until_taken_in(testbed: Testbed, after: str, *, seconds: float = 120.0) -> None:
    """Wait until orders sent from now on come into the table; orders that the broker did not accept are sent again."""
    sent: list[str] = []

    def is_there() -> bool:
        if not sent:
            try:
                sent.extend(testbed.place(3, wait=False))
            except TOLD:
                return False
        return testbed.states().keys() >= {*sent}

    eventually(is_there, f"orders taken in after {after}", seconds=seconds, every=0.2)
