"""Whether a worker takes orders in again, and within which time it must."""

import redis
from kombu.exceptions import OperationalError

from tests.faults.testbed import Testbed
from tests.support.waiting import eventually

TOLD = (OperationalError, redis.RedisError)
"""The errors by which kombu reports that the broker has not accepted a message."""
RECONNECTED = 20.0
"""Seconds until a worker takes messages again: Celery waits 2 s before the second attempt, and 2 s longer each time."""
SOON = 15.0
"""Seconds within which others' messages are taken in, on a busy machine."""


def wait_until_taken_in(testbed: Testbed, after: str, *, seconds: float = SOON) -> None:
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
