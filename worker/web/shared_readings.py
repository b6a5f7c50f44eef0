"""Readings that all who ask share: pages, scrapes and probes. However many ask, a server is asked once at a time."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

Run = Callable[[], None]


def _here(run: Run) -> None:
    run()


class SharedReading(Generic[T]):
    """The last result of a reading. Who asks for it when it is old has it read once more."""

    def __init__(
        self,
        read: Callable[[], T],
        *,
        otherwise: T,
        kept_seconds: float,
        oldest_seconds: float = 0.0,
        share: float = 0.0,
        begin: Callable[[Run], object] = _here,
        report: Callable[[Exception], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A result is kept for `kept_seconds`, or for `share` times as long as `read` took, from the reading's begin.

        `begin` has the reading done, in another thread for instance; by default who asks first does it. While a newer
        one is read a result of `oldest_seconds` may still be shown, and where there is none, `otherwise`. Who asks gets
        the error of a reading that failed, unless `report` does: then it has brought nothing newer.
        """
        self._read = read
        self._kept_seconds = kept_seconds
        self._oldest_seconds = oldest_seconds
        self._share = share
        self._begin = begin
        self._report = report
        self._clock = clock
        self._lock = Lock()
        self._under_way: Future[T] | None = None
        self._began_at = self._fresh_until = self._read_at = -math.inf
        self._value = otherwise
        self._otherwise = otherwise
        self._error: Exception | None = None
        """What nobody was told who waited for it."""

    def latest(self, patience_seconds: float) -> T:
        """The last result. A reading that another thread does is waited for during its first `patience_seconds`.

        Raises what the reading raised; after one that nobody waited for, who asks next is told.
        """
        with self._lock:
            now = self._clock()
            if now < self._fresh_until:
                return self._value
            begins = self._under_way is None
            if self._under_way is None:
                self._under_way, self._began_at = Future(), now
            under_way, until = self._under_way, self._began_at + patience_seconds
        if begins:
            self._begin(self._read_once)
        wait([under_way], timeout=max(0.0, until - self._clock()))
        with self._lock:
            error, self._error = self._error, None
            if under_way.done():
                return under_way.result()
            if error is not None:
                raise error
            return self._value if self._clock() - self._read_at < self._oldest_seconds else self._otherwise

    def _read_once(self) -> None:
        try:
            value = self._read()
        except Exception as error:  # whoever asks gets it
            self._fail(error)
            return
        with self._lock:
            assert self._under_way is not None
            under_way, self._under_way, self._error = self._under_way, None, None
            took = self._clock() - self._began_at
            self._value, self._read_at = value, self._began_at
            self._fresh_until = self._began_at + max(self._kept_seconds, self._share * took)
            under_way.set_result(value)

    def _fail(self, error: Exception) -> None:
        if self._report is not None:
            self._report(error)
        with self._lock:
            assert self._under_way is not None
            under_way, self._under_way = self._under_way, None
            if self._report is None:
                self._error = error
                under_way.set_exception(error)
                return
            if self._clock() - self._read_at >= self._oldest_seconds:
                self._value = self._otherwise
            self._fresh_until = self._began_at + self._kept_seconds
            under_way.set_result(self._value)
