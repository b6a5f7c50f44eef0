"""Ends this process where something under way in it has made no step for far longer than it may take.

Without memory a thread may die, or never come to its first step: then CPython's Thread.start() waits without end, and
so does whatever waits for it (https://github.com/python/cpython/issues/140746). Nothing in the process can repair that.
The pool of Celery starts another process; a worker without a pool of processes is restarted by its supervisor.

The watching thread starts with the process: later there may be no memory for one. It goes by the boot clock, and counts
only the time in which it was itself at work: a machine that slept, or a process that was stopped, has not hung.
"""

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import structlog

from worker.adapters.clock import Clock

log = structlog.stdlib.get_logger(__name__)

EXIT_STATUS = 70
"""EX_SOFTWARE of sysexits.h. Not 0, which is a process that ends in order."""
_PERIOD_SECONDS = 1.0
_LOG_SECONDS = 10.0
_MOST_FRAMES = 12


class Watched:
    """Something under way. It is to make a step now and then, until it ends."""

    __slots__ = ("_watchdog", "since", "what")

    def __init__(self, watchdog: "Watchdog", what: str) -> None:
        self._watchdog = watchdog
        self.what = what
        self.since = watchdog.seen
        """The watchdog's time of its last step."""

    def here(self) -> None:
        """The calling thread works at it from now on: what the thread does counts as its steps."""
        self._watchdog.local.watched = self
        self.step()

    def step(self) -> None:
        """It goes on. Costs next to nothing."""
        self.since = self._watchdog.seen

    def end(self) -> None:
        """It is done."""
        self._watchdog.under_way.discard(self)


def end_process(watched: Watched, seconds: float) -> NoReturn:
    """Log where each thread stands, and end this process at once, whatever else hangs."""
    # The log may hang as well: a thread that died may hold one of its locks. By default this signal ends the process.
    signal.setitimer(signal.ITIMER_REAL, _LOG_SECONDS)
    try:
        log.critical(
            "the process ends itself, as something in it hangs: another one is to be started",
            action="process_hangs",
            what=watched.what,
            seconds=round(seconds),
            threads=_where_threads_stand(),
        )
    finally:
        os._exit(EXIT_STATUS)


class Watchdog:
    """Watches what is under way in one process. Nothing is watched before `start`."""

    def __init__(
        self,
        clock: Clock,
        *,
        patience_seconds: float,
        period_seconds: float = _PERIOD_SECONDS,
        end: Callable[[Watched, float], None] = end_process,
    ) -> None:
        """What has made no step for `patience_seconds` hangs; after twice that, `end` is called."""
        self._clock = clock
        self._patience = patience_seconds
        self._period = period_seconds
        self._end = end
        self._closed = False
        self._last_look = clock.boot()
        self.seen = 0.0
        """Seconds that this watchdog has seen pass."""
        self.under_way: set[Watched] = set()
        self.local = threading.local()

    def start(self) -> None:
        """Watch until `close`, in a thread. Call it before other threads are started."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def close(self) -> None:
        """Watch no more. Waits for nothing."""
        self._closed = True

    def begin(self, what: str) -> Watched:
        """Watch something that begins now. `what` is for the log: no value of an order, no secret."""
        watched = Watched(self, what)
        self.under_way.add(watched)
        return watched

    def start_thread(self, run: Callable[[], None], *, name: str) -> threading.Thread:
        """Start a thread that makes steps until it returns. One that an error ends hangs from then on."""
        watched = self.begin(f"the thread {name}")

        def watch() -> None:
            watched.here()
            run()
            watched.end()

        thread = threading.Thread(target=watch, name=name, daemon=True)
        thread.start()
        return thread

    def step(self) -> None:
        """The calling thread goes on with what it works at, if that is watched."""
        watched: Watched | None = getattr(self.local, "watched", None)
        if watched is not None:
            watched.step()

    def seconds_hanging(self) -> float | None:
        """How long ago that made its last step which hangs for longest; None where nothing hangs."""
        oldest = self._oldest()
        seconds = 0.0 if oldest is None else self.seen - oldest.since
        return seconds if seconds > self._patience else None

    def look(self) -> None:
        """Look once, as the thread does each period."""
        now = self._clock.boot()
        self.seen += min(max(0.0, now - self._last_look), 2 * self._period)
        self._last_look = now
        oldest = self._oldest()
        if oldest is not None and self.seen - oldest.since > 2 * self._patience:
            self._end(oldest, self.seen - oldest.since)

    def _oldest(self) -> Watched | None:
        # Copied in one step of the interpreter: other threads change it.
        return min(list(self.under_way), key=lambda watched: watched.since, default=None)

    def _run(self) -> None:
        while not self._closed:
            # Not an event, which needs memory for each wait.
            time.sleep(self._period)
            try:
                self.look()
            except MemoryError:
                continue


def _where_threads_stand() -> str:
    """The innermost calls of all threads but this one: files, lines and names, and no values."""
    # The names of threads would need a lock that a thread which died may hold.
    frames = sys._current_frames()  # noqa: SLF001 - documented for debugging a deadlock
    own = threading.get_ident()
    stands = Counter(_innermost(frame) for ident, frame in frames.items() if ident != own)
    return "; ".join(f"{count} x {calls}" for calls, count in stands.most_common())


def _innermost(frame: FrameType | None) -> str:
    calls: list[str] = []
    while frame is not None and len(calls) < _MOST_FRAMES:
        code = frame.f_code
        file = "/".join(code.co_filename.rsplit("/", 2)[-2:])
        calls.append(f"{code.co_name} ({file}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(calls)
