"""A watchdog that ends this process if some work in the process has made no step for far longer than a step may take.

If memory runs out, a thread may die, or never begin to run. In the second case CPython's Thread.start() waits without
end, and so does everything that waits for this call (https://github.com/python/cpython/issues/140746). Nothing in the
process can repair that, so the process must end. Celery's pool then starts another process. A worker without a pool of
processes is restarted by its supervisor.

The watching thread starts with the process, because later there may be no memory for a thread. The watching thread uses
the boot clock and counts only the time during which it was running itself. So work does not count as hanging because
the machine slept or the process was stopped.
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
"""The exit status of a process that the watchdog ends: EX_SOFTWARE of sysexits.h. The status 0 would mean that the
process ended normally."""
_PERIOD_SECONDS = 1.0
_LOG_SECONDS = 10.0
_MOST_FRAMES = 12


class Watched:
    """Work that is watched. The work must record a step (`step`) now and then until it ends."""

    __slots__ = ("_watchdog", "since", "what")

    def __init__(self, watchdog: "Watchdog", what: str) -> None:
        self._watchdog = watchdog
        self.what = what
        self.since = watchdog.seen
        """When the work made its last step, in seconds as `Watchdog.seen` counts them."""

    def here(self) -> None:
        """From now on, when the calling thread calls `Watchdog.step`, count it as a step of this work."""
        self._watchdog.local.watched = self
        self.step()

    def step(self) -> None:
        """Record that this work has made a step. Costs next to nothing."""
        self.since = self._watchdog.seen

    def end(self) -> None:
        """Stop watching this work, because it is done."""
        self._watchdog.under_way.discard(self)


def end_process(watched: Watched, seconds: float) -> NoReturn:
    """Log what each thread is executing now, and end this process at once, whatever hangs in it."""
    # Writing the log may hang as well, because a dead thread may hold a lock of the log. In this case the timer's
    # signal SIGALRM ends the process, which is the default action of SIGALRM.
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
    """Watches the work in one process. Nothing is watched before `start`."""

    def __init__(
        self,
        clock: Clock,
        *,
        patience_seconds: float,
        period_seconds: float = _PERIOD_SECONDS,
        end: Callable[[Watched, float], None] = end_process,
    ) -> None:
        """Work counts as hanging if it has made no step for `patience_seconds`. If it has made none for twice that
        time, `end` is called."""
        self._clock = clock
        self._patience = patience_seconds
        self._period = period_seconds
        self._end = end
        self._closed = False
        self._last_look = clock.boot()
        self.seen = 0.0
        """Seconds during which the watching thread was running."""
        self.under_way: set[Watched] = set()
        self.local = threading.local()

    def start(self) -> None:
        """Start the watching thread, which runs until `close`. Call this before other threads are started."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def close(self) -> None:
        """Stop watching. Does not wait for the thread."""
        self._closed = True

    def begin(self, what: str) -> Watched:
        """Watch work that begins now. `what` names the work in the log, so `what` must not contain secrets or values of
        an order."""
        watched = Watched(self, what)
        self.under_way.add(watched)
        return watched

    def start_thread(self, run: Callable[[], None], *, name: str) -> threading.Thread:
        """Start a thread that is watched until it returns. If an error ends the thread, the thread counts as
        hanging."""
        watched = self.begin(f"the thread {name}")

        def watch() -> None:
            watched.here()
            run()
            watched.end()

        thread = threading.Thread(target=watch, name=name, daemon=True)
        thread.start()
        return thread

    def step(self) -> None:
        """Record a step of the work that the calling thread does, if that work is watched."""
        watched: Watched | None = getattr(self.local, "watched", None)
        if watched is not None:
            watched.step()

    def seconds_hanging(self) -> float | None:
        """Seconds since the last step of the work whose last step is the oldest; None if no work hangs."""
        oldest = self._oldest()
        seconds = 0.0 if oldest is None else self.seen - oldest.since
        return seconds if seconds > self._patience else None

    def look(self) -> None:
        """Look at all watched work once. The watching thread calls this once in each period."""
        now = self._clock.boot()
        self.seen += min(max(0.0, now - self._last_look), 2 * self._period)
        self._last_look = now
        oldest = self._oldest()
        if oldest is not None and self.seen - oldest.since > 2 * self._patience:
            self._end(oldest, self.seen - oldest.since)

    def _oldest(self) -> Watched | None:
        # The set is copied first, by `list` in one step of the interpreter, because other threads change the set
        # meanwhile.
        return min(list(self.under_way), key=lambda watched: watched.since, default=None)

    def _run(self) -> None:
        while not self._closed:
            # `time.sleep` needs no memory. To wait for a `threading.Event` would need memory each time.
            time.sleep(self._period)
            try:
                self.look()
            except MemoryError:
                continue


def _where_threads_stand() -> str:
    """The innermost calls of all threads except this one: files, lines and names, without values."""
    # The threads' names are not shown: reading them needs a lock, which a dead thread may hold.
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
