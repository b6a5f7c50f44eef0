"""What is logged while the database cannot be used: one line a minute, by all processes of a worker together."""

import mmap
import time
from collections.abc import Callable

import structlog

from worker.adapters.error_text import first_words
from worker.database.error_kinds import ErrorKind, kind_of

SECONDS_BETWEEN_LINES = 60.0

_ACTIONS = tuple(dict.fromkeys(kind.action for kind in ErrorKind))
_BYTES_OF_A_TIME = 8

log = structlog.stdlib.get_logger(__name__)


class OutageLog:
    """Shared with the processes that are forked later: a tick of each would be a line a second."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` is a clock in seconds, the same for all processes."""
        self._monotonic = monotonic
        # No lock, which a process that is killed would keep. Two that fail at the same moment may both write.
        self._quiet_until = memoryview(mmap.mmap(-1, len(_ACTIONS) * _BYTES_OF_A_TIME)).cast("d")

    def explains(self, error: BaseException, what: str) -> bool:
        """Whether the database is the cause of `what`, such as "a tick was cut short"; that is logged."""
        kind = kind_of(error)
        if kind is None:
            return False
        now, index = self._monotonic(), _ACTIONS.index(kind.action)
        if now >= self._quiet_until[index]:
            self._quiet_until[index] = now + SECONDS_BETWEEN_LINES
            log.warning(
                f"{what}: {kind.words}; it is tried again, and this is logged once a minute",
                action=kind.action,
                error=first_words(error),
            )
        return True


OUTAGES = OutageLog()
"""Of this process and those that it forks."""
