"""Readings of the database that a page shows without waiting for them, however many look at it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")

_SHARE = 20.0
"""A reading is kept for so many times as long as it took: it costs a twentieth of one connection at most."""


class KeptReading(Generic[T]):
    """The last result of a reading. Who asks for it has it read once more, where it is old, in another thread."""

    def __init__(
        self,
        read: Callable[[], T],
        threads: Executor,
        *,
        least_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A result is kept for `least_seconds`, or longer where `read` takes long."""
        self._read = read
        self._threads = threads
        self._least_seconds = least_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: Future[None] | None = None
        self._value: T | None = None
        self._error: Exception | None = None
        self._fresh_until: float | None = None

    def latest(self, patience_seconds: float) -> T | None:
        """The last result, after so long at most; None where there is none yet.

        Raises what the reading raised, where it did so the last time.
        """
        under_way = self._begin_where_old()
        if under_way is not None:
            wait([under_way], timeout=patience_seconds)
        with self._lock:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return self._value

    def _begin_where_old(self) -> Future[None] | None:
        with self._lock:
            is_fresh = self._fresh_until is not None and self._clock() < self._fresh_until
            if self._under_way is None and not is_fresh:
                self._under_way = self._threads.submit(self._read_once)
            return self._under_way

    def _read_once(self) -> None:
        began = self._clock()
        value: T | None = None
        error: Exception | None = None
        try:
            value = self._read()
        except Exception as raised:  # whoever asks gets it
            error = raised
        with self._lock:
            now = self._clock()
            self._under_way = None
            self._value, self._error = value, error
            # What has failed is tried again by the next who asks.
            self._fresh_until = None if error else now + max(self._least_seconds, _SHARE * (now - began))
