"""Timers: an alarm that calls at the moments it is set to, a throttle for what is done every so often, a deadline."""

import math
import mmap
import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from worker.adapters.clock import Clock

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")
_BYTES_OF_A_TIME = 8


class Alarm(Generic[T]):
    """Calls once for each thing at its time.

    By the monotonic clock: no clock step moves it, and it stands still while the machine sleeps.
    """

    def __init__(self, call: Callable[[T], None], *, name: str) -> None:
        """`call` is made in the alarm's thread, one at a time, and must not raise. `name` is that thread's."""
        self._call = call
        self._times: dict[T, float] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def set(self, waits: Mapping[T, float]) -> None:
        """Call for each of these after its wait in seconds. Replaces an earlier time of the same thing."""
        now = time.monotonic()
        with self._changed:
            self._times.update({thing: now + seconds for thing, seconds in waits.items()})
            self._changed.notify()

    def close(self) -> None:
        """Make no more calls. Waits for a call that is being made."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not (due := self._due()):
                    self._changed.wait(self._seconds_left())
                if self._closed:
                    return
                for thing in due:
                    del self._times[thing]
            for thing in due:
                self._call(thing)

    def _due(self) -> list[T]:
        now = time.monotonic()
        return sorted((thing for thing, at in self._times.items() if at <= now), key=self._times.__getitem__)

    def _seconds_left(self) -> float | None:
        return max(0.0, min(self._times.values()) - time.monotonic()) if self._times else None


class Throttle:
    """What is done at most once in an interval, of each kind, by all the processes that are forked after it was made.

    Each process of a pool ticks, and what all of them find is to be logged once. There is no lock, which a process that
    is killed would keep: two callers at the same moment may both pass.
    """

    def __init__(
        self, seconds: float, *, kinds: Collection[str] = ("",), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`kinds` have an interval each; `clock` counts seconds from a zero that all these processes share."""
        self._seconds = seconds
        self._clock = clock
        self._kinds = tuple(kinds)
        # Anonymous memory is shared with processes that are forked later; a plain attribute would be copied.
        self._next = memoryview(mmap.mmap(-1, len(self._kinds) * _BYTES_OF_A_TIME)).cast("d")
        for index in range(len(self._kinds)):
            self._next[index] = -math.inf

    def is_open(self, kind: str = "") -> bool:
        """Whether the interval has passed."""
        return self._clock() >= self._next[self._kinds.index(kind)]

    def close(self, kind: str = "") -> None:
        """Begin an interval."""
        self._next[self._kinds.index(kind)] = self._clock() + self._seconds

    def passes(self, kind: str = "") -> bool:
        """Whether the interval has passed; where it has, the next one begins."""
        if not self.is_open(kind):
            return False
        self.close(kind)
        return True


class Deadline:
    """When an exchange, or a part of it, must have ended, whatever it consists of."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """`seconds` from now, by the boot clock."""
        self._clock = clock
        self._ends = clock.boot() + seconds

    def rest(self) -> float:
        """Seconds that are left. Raises TimeoutError where none are."""
        rest = self._ends - self._clock.boot()
        if rest <= 0:
            raise TimeoutError("timed out")
        return rest

    def bound(self, call: Callable[[], R]) -> R:
        """What a call returns or raises; raises TimeoutError where it has not ended by then, and
        RuntimeError where no thread can be started.

        For what takes no timeout, such as the search for a name's address. It runs in a thread of its own, which goes
        on until the call ends by itself: nobody sees that, and the process does not wait for it.
        """
        rest = self.rest()
        return result_within(in_thread(call), rest, "timed out")


def in_thread(call: Callable[[], R]) -> Future[R]:
    """Start a call in a thread of its own; returns what will hold its result. Nothing can cancel it."""
    ended: Future[R] = Future()
    threading.Thread(target=_complete, args=(call, ended), name="bounded-call", daemon=True).start()
    return ended


def result_within(ended: Future[R], seconds: float, words: str) -> R:
    """What a call in a thread returns or raises; raises TimeoutError with these words where it has not ended by then.

    The call's own TimeoutError says more.
    """
    wait([ended], seconds)
    if not ended.done():
        raise TimeoutError(words)
    return ended.result()


def _complete(call: Callable[[], R], ended: Future[R]) -> None:
    try:
        result = call()
    except BaseException as error:
        ended.set_exception(error)
    else:
        ended.set_result(result)
