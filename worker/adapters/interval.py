"""What happens once in an interval, in one process of many."""

import mmap
import struct
import time
from collections.abc import Callable

_SECONDS = struct.Struct("d")


class SharedInterval:
    """Lets one caller through in so many seconds, of all the processes that were forked after it was made.

    A pool's processes each tick, and what they all find they are to say once. Two that come at the very same moment may
    both pass.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds from a zero that all these processes share."""
        self._seconds = seconds
        self._clock = clock
        # Anonymous memory is shared with whatever is forked later; a plain attribute would be copied.
        self._memory = mmap.mmap(-1, _SECONDS.size)
        _SECONDS.pack_into(self._memory, 0, -float("inf"))

    def passes(self) -> bool:
        """Whether this caller is let through."""
        now = self._clock()
        if now - _SECONDS.unpack_from(self._memory)[0] < self._seconds:
            return False
        _SECONDS.pack_into(self._memory, 0, now)
        return True
