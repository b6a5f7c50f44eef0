"""Readings that pages, scrapes and probes share. However many callers there are, only one reading runs at a time."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Run = Callable[[], None]

_CLOSE_SECONDS = 5.0


def _here(run: Run) -> None:
    run()


@dataclass(eq=False)
class SharedReading(Generic[T]):
    """The last result of a reading. A caller that finds this result too old starts a new reading.

    One reading at a time is under way, and other callers wait a little for its result. A caller that cannot wait until
    this reading ends gets the outcome of the last reading that has ended: its result, as long as this may still be
    shown, or its error, which is raised once. In all other cases the caller gets `otherwise`. After an error that was
    raised, no older result is shown.

    A result is kept for `kept_seconds`, or for `share` times as long as `read` took if that is longer. Nothing is read
    while a result is kept. Its age counts from the start of `read`, which may be later than the call that started the
    reading.

    While a newer result is read, the last result is shown until it is `oldest_seconds` old; during the first
    `held_seconds` of the new reading, it is shown at any age.

    `begin` runs the reading, for instance in another thread; by default the caller that starts a reading runs it.
    Without `report`, the first call after an error reads again. With `report`, an error is reported and not raised: the
    last result is shown until it is too old, and nothing is read for `kept_seconds`. A reading that cannot be started
    counts as failed.
    """

    read: Callable[[], T]
    _: KW_ONLY
    otherwise: T
    kept_seconds: float
    oldest_seconds: float = 0.0
    held_seconds: float = 0.0
    share: float = 0.0
    begin: Callable[[Run], object] = _here
    report: Callable[[Exception], None] | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Future[T] | None = None
        self._asked_at = self._kept_until = self._shown_until = -math.inf
        self._last: Future[T] = Future()
        """The last reading that has ended."""
        self._last.set_result(self.otherwise)

    def latest(self, patience_seconds: float) -> T:
        """The last result. Waits for a reading that another thread runs, but only until `patience_seconds` after that
        reading was first requested.

        Raises the error of the reading for which the call waited. The same error is also raised in one later call: the
        first call whose patience ends before the next reading does.
        """
        with self._lock:
            now = self.clock()
            if now < self._kept_until:
                return self._shown(now)
            under_way, begins = self._under_way, self._under_way is None
            if under_way is None:
                under_way = self._under_way = Future()
                self._asked_at = now
                self._shown_until = max(self._shown_until, now + self.held_seconds)
            until = self._asked_at + patience_seconds
        if begins:
            self._have_it_read(under_way, now)
        wait([under_way], timeout=max(0.0, until - self.clock()))
        if under_way.done():
            return under_way.result()
        with self._lock:
            return self._shown(self.clock())

    def _shown(self, now: float) -> T:
        if now >= self._shown_until:
            return self.otherwise
        if self._last.exception() is not None:
            # The error is raised only once. After that, a page that needs two readings can be shown again, with
            # `otherwise` instead of the failed reading, before a retry has succeeded.
            self._shown_until = -math.inf
        return self._last.result()

    def _have_it_read(self, under_way: Future[T], now: float) -> None:
        try:
            self.begin(partial(self._read_once, under_way))
        except Exception as error:  # no thread can be started, for instance
            self._fail(under_way, now, error)

    def _read_once(self, under_way: Future[T]) -> None:
        began_at = self.clock()
        try:
            value = self.read()
        except Exception as error:  # each caller gets it
            self._fail(under_way, began_at, error)
        except BaseException as error:
            # The error ends this thread. The waiting threads must not end, so they get another error.
            self._fail(under_way, began_at, RuntimeError(f"{type(error).__name__} ended a reading"))
            raise
        else:
            self._succeed(under_way, began_at, value)

    def _succeed(self, under_way: Future[T], began_at: float, value: T) -> None:
        with self._lock:
            if self._under_way is not under_way:
                return
            self._under_way, self._last = None, under_way
            self._kept_until = began_at + max(self.kept_seconds, self.share * (self.clock() - began_at))
            self._shown_until = max(self._kept_until, began_at + self.oldest_seconds)
            under_way.set_result(value)

    def _fail(self, under_way: Future[T], began_at: float, error: Exception) -> None:
        with self._lock:
            # A reading that counts as failed, because it could not be started, may still run later: an executor keeps
            # work that it has no thread for.
            if self._under_way is not under_way:
                return
            self._under_way = None
            if self.report is None:
                self._last, self._shown_until = under_way, began_at + self.oldest_seconds
                under_way.set_exception(error)
                return
            self._kept_until = began_at + self.kept_seconds
            under_way.set_result(self._shown(self.clock()))
        # `report` is called last, because it may raise an error, too.
        self.report(error)


class Apart:
    """Runs each reading in a thread of its own, one reading at a time. So one connection is enough for all readings.

    A process does not wait for these threads when it ends, because a silent database server could keep them waiting.
    """

    def __init__(self, name: str) -> None:
        """`name` is the name of the threads."""
        self.is_closed = False
        self._name = name
        self._turn = threading.Lock()

    def shared(self, read: Callable[[], T], *, oldest_seconds: float = math.inf, **how: Any) -> SharedReading[T | None]:
        """A shared reading that runs in these threads. It gives None if no result is known in time. `how` are the other
        arguments of `SharedReading`. By default, the last result is shown at any age while a newer one is read."""
        return SharedReading(read, otherwise=None, oldest_seconds=oldest_seconds, begin=self.begin, **how)

    def begin(self, run: Run) -> None:
        """Run a reading in a thread, when its turn comes. Raises RuntimeError if no thread can be started."""
        threading.Thread(target=self._run, args=(run,), name=self._name, daemon=True).start()

    def close(self, patience_seconds: float = _CLOSE_SECONDS) -> None:
        """Start no more readings, and wait up to `patience_seconds` for the reading under way to end. Must be called
        before the database is closed."""
        self.is_closed = True
        if self._turn.acquire(timeout=patience_seconds):
            self._turn.release()

    def _run(self, run: Run) -> None:
        with self._turn:
            if not self.is_closed:
                run()
