"""Readings that all who ask share: pages, scrapes and probes. However many ask, a server is asked once at a time."""

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
    """The last result of a reading. Who asks for it when it is old has it read once more.

    One reading at a time is under way, and who asks meanwhile waits a little for what it finds. A caller that cannot
    wait so long gets what the last one found: a result for as long as it may be shown, an error once; else `otherwise`.
    After an error no older result is shown.

    A result is kept for `kept_seconds`, or for `share` times as long as `read` took: nothing is read meanwhile.
    It counts from the begin of `read`, which may be later than somebody asked for it.

    While a newer one is read what was found last is shown until it is `oldest_seconds` old, and at any age during
    the first `held_seconds`.

    `begin` has the reading done, in another thread for instance; by default who asks first does it. An error is not
    kept. With `report` it is reported, and is no finding: the last result is shown until it is too old, and nothing
    is read for as long as a result is kept. What cannot be begun has failed.
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
        """What was found last: it has ended."""
        self._last.set_result(self.otherwise)

    def latest(self, patience_seconds: float) -> T:
        """The last result. A reading that another thread does is waited for until `patience_seconds` after somebody
        first asked for it.

        Raises what the reading raised, and once more to the first who does not wait for the next one.
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
            # A page that shows two readings is there again before that which failed has been tried again.
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
            # It ends this thread, and not those that wait.
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
            # What could not be begun may be run all the same: an executor keeps what it has no thread for.
            if self._under_way is not under_way:
                return
            self._under_way = None
            if self.report is None:
                self._last, self._shown_until = under_way, began_at + self.oldest_seconds
                under_way.set_exception(error)
                return
            self._kept_until = began_at + self.kept_seconds
            under_way.set_result(self._shown(self.clock()))
        # Last: it may raise, too.
        self.report(error)


class Apart:
    """Runs readings in threads of their own, one at a time: one connection is enough for all of them.

    A process does not wait for these threads when it ends, as a server may keep silent.
    """

    def __init__(self, name: str) -> None:
        """`name` is that of the threads."""
        self.is_closed = False
        self._name = name
        self._turn = threading.Lock()

    def shared(self, read: Callable[[], T], *, oldest_seconds: float = math.inf, **how: Any) -> SharedReading[T | None]:
        """A reading that is done here, by the other arguments of `SharedReading`; None where nothing is known in time.
        By default what was found last is shown, however old, while a newer one is read."""
        return SharedReading(read, otherwise=None, oldest_seconds=oldest_seconds, begin=self.begin, **how)

    def begin(self, run: Run) -> None:
        """Have this done when its turn comes. Raises RuntimeError where no thread can be started."""
        threading.Thread(target=self._run, args=(run,), name=self._name, daemon=True).start()

    def close(self, patience_seconds: float = _CLOSE_SECONDS) -> None:
        """Begin nothing any more, and wait so long for what is being read; before the database is closed."""
        self.is_closed = True
        if self._turn.acquire(timeout=patience_seconds):
            self._turn.release()

    def _run(self, run: Run) -> None:
        with self._turn:
            if not self.is_closed:
                run()
