"""Readings that all who ask share: those of pages in a thread of their own, those of probes in the thread that asks."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")

_NO_ANSWER = "the database has not answered yet"
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


class SharedReading:
    """A reading of a server that all who ask within a second share.

    Anybody may ask for a probe, and each reading holds a thread and a connection, for seconds where the server keeps
    silent.
    """

    def __init__(
        self,
        read: Callable[[], str | None],
        *,
        kept_seconds: float = 1.0,
        no_answer: str = _NO_ANSWER,
        first_wait_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` says what is wrong, or None; `no_answer` is said while that is not known yet.

        Who asks during the very first reading waits so long for its end.
        """
        self._read = read
        self._kept_seconds = kept_seconds
        self._no_answer = no_answer
        self._first_wait_seconds = first_wait_seconds
        self._clock = clock
        self._ended = threading.Condition()
        self._is_known = False
        self._began_at: float | None = None
        self._is_under_way = False
        self._fault: str | None = no_answer

    def fault(self) -> str | None:
        """What is wrong, or None. While another thread reads: what it was before. Raises what `read` raises."""
        with self._ended:
            is_first = self._is_under_way and not self._is_known
            # Two probes at the start of a process would otherwise be told different things.
            if is_first and self._ended.wait_for(lambda: self._is_known, self._first_wait_seconds):
                return self._fault
            now = self._clock()
            if self._began_at is not None and now - self._began_at < self._kept_seconds:
                return self._fault
            if self._is_under_way:
                return self._no_answer
            self._began_at, self._is_under_way = now, True
        fault: str | None = self._no_answer
        try:
            fault = self._read()
        finally:
            with self._ended:
                self._fault, self._is_under_way, self._is_known = fault, False, True
                self._ended.notify_all()
        return fault
