"""The two clocks of a host, the boot clock and the wall clock; and timers.

Nobody can set the boot clock. On the host that sent the last query, the boot clock decides whether the next query may
be sent. So a step of the wall clock, or of the database's clock, neither permits a query too early nor delays one.

Readings of the boot clock can be compared only within one boot of one host. So each reading is stored with the identity
of the boot. This identity is the kernel's id of the boot and, in a time namespace, also the namespace, because the
CLOCK_BOOTTIME of a time namespace has its own offset (time_namespaces(7)).
"""

import hashlib
import math
import mmap
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

# While a Linux machine is suspended, CLOCK_MONOTONIC does not advance. So a wait that is measured by CLOCK_MONOTONIC
# would be too long, and a deadline would be missed. macOS has no CLOCK_BOOTTIME, but its CLOCK_MONOTONIC counts the
# time in sleep.
if sys.platform == "linux":
    _BOOT_CLOCK = time.CLOCK_BOOTTIME
else:
    _BOOT_CLOCK = time.CLOCK_MONOTONIC

_PROC = Path("/proc")
# The link `/proc/self/ns/time` in the initial time namespace; the number in it is the kernel's PROC_TIME_INIT_INO.
_INITIAL_NAMESPACE = "time:[4026531834]"
_DIGITS_OF_NAMESPACE = 24
"""How many digits of the namespace's hash are kept. With the 36 characters of a boot id and a plus sign, they fit into
a database column of 64 characters."""


class Clock(Protocol):
    """The clocks for decisions about time. Read them only at the edge of the program; pure functions take times as
    arguments."""

    @property
    def boot_id(self) -> str:
        """The identity of the boot within which readings of `boot()` can be compared; 1 to 64 characters."""

    def boot(self) -> float:
        """Seconds since a fixed moment of this boot, including the time in suspend. Never steps."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. May be wrong, and may step."""


class HostClock:
    """The clocks of the host that this process runs on."""

    def __init__(self, *, boot_id: str | None = None, proc: Path = _PROC) -> None:
        """`boot_id` replaces the host's own, for a test that simulates two hosts on one machine; `proc` is the
        mount point of Linux's procfs."""
        self._boot_id = boot_id or _identity_of_boot(proc)

    @property
    def boot_id(self) -> str:
        """The kernel's id of this boot; in a time namespace, followed by a hash of the namespace. If the kernel does
        not give these, the identity is a random id of this process."""
        return self._boot_id

    def boot(self) -> float:
        """Seconds of CLOCK_BOOTTIME (macOS: CLOCK_MONOTONIC)."""
        return time.clock_gettime(_BOOT_CLOCK)

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)


def _identity_of_boot(proc: Path) -> str:
    try:
        boot_id, namespace = _kernel_boot_id(proc), _time_namespace(proc)
    except (OSError, ValueError, subprocess.SubprocessError):
        # An identity that no other process has is the safe choice: after a restart of the process, the identity in a
        # stored reading no longer matches, so the database's clock decides. If the identity were a constant, readings
        # of two boots or of two namespaces would be compared.
        return f"process-{uuid.uuid4()}"
    if namespace is None:
        return boot_id[:64]
    digits = hashlib.sha256(namespace.encode()).hexdigest()[:_DIGITS_OF_NAMESPACE]
    return f"{boot_id[: 63 - _DIGITS_OF_NAMESPACE]}+{digits}"


def _kernel_boot_id(proc: Path) -> str:
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    else:
        text = (proc / "sys/kernel/random/boot_id").read_text("ascii")
    if not text.strip():
        raise ValueError("the kernel gives no boot id")
    return text.strip()


def _time_namespace(proc: Path) -> str | None:
    """A text that identifies, within this boot, the time namespace whose clocks this process reads; None for the
    initial namespace. Raises OSError or ValueError if the namespace cannot be found out."""
    try:
        link = os.readlink(proc / "self/ns/time")
    except FileNotFoundError:
        # The kernel is older than 5.6, or the system has no time namespaces.
        return None
    if link == _INITIAL_NAMESPACE:
        # Return before timens_offsets is read: that file shows the namespace of the process's future children, which
        # may differ from the process's own.
        return None
    offsets = (proc / "self/timens_offsets").read_text("ascii")
    # The offset of CLOCK_BOOTTIME is part of the identity, because a new namespace may get the number of a namespace
    # that no longer exists.
    (offset,) = (line.split()[1:] for line in offsets.splitlines() if line.split()[:1] == ["boottime"])
    return " ".join([link, *offset])


T = TypeVar("T", bound=Hashable)
R = TypeVar("R")
_BYTES_OF_A_TIME = 8


class Alarm(Generic[T]):
    """Calls a function once for each thing, at the time that was set for the thing.

    The alarm uses the monotonic clock. Nobody can set this clock, and it does not advance while the machine sleeps.
    """

    def __init__(self, call: Callable[[T], None], *, name: str) -> None:
        """`call` runs in the alarm's thread, one call at a time, and must not raise. `name` is the thread's name."""
        self._call = call
        self._times: dict[T, float] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def set(self, waits: Mapping[T, float]) -> None:
        """Call the function for each of these things after the thing's wait, in seconds. If a time was already set for
        a thing, the new time replaces it."""
        now = time.monotonic()
        with self._changed:
            self._times.update({thing: now + seconds for thing, seconds in waits.items()})
            self._changed.notify()

    def close(self) -> None:
        """Make no more calls. If a call is running, wait until it ends."""
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


def seconds_since(moment: float | None) -> float | None:
    """Seconds since a moment of the monotonic clock; None if there was no such moment."""
    return None if moment is None else time.monotonic() - moment


class Throttle:
    """Permits something once per interval and kind. The process that makes the throttle and all processes that it forks
    later share the intervals.

    This is needed because each process of a pool ticks, but a fact that all of them find must be logged only once.
    There is no lock, because a process that is killed would keep it. So two callers at the same moment may both get
    permission.
    """

    def __init__(
        self, seconds: float, *, kinds: Collection[str] = ("",), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Each of `kinds` has its own interval. `clock` returns seconds since a moment that is the same for all these
        processes."""
        self._seconds = seconds
        self._clock = clock
        self._kinds = tuple(kinds)
        # The times are kept in anonymous memory, which is shared with processes that are forked later. A plain
        # attribute would be copied to them.
        self._next = memoryview(mmap.mmap(-1, len(self._kinds) * _BYTES_OF_A_TIME)).cast("d")
        for index in range(len(self._kinds)):
            self._next[index] = -math.inf

    def is_open(self, kind: str = "") -> bool:
        """Whether the kind's last interval has passed."""
        return self._clock() >= self._next[self._kinds.index(kind)]

    def close(self, kind: str = "") -> None:
        """Begin a new interval of this kind: until it has passed, `is_open` is false."""
        self._next[self._kinds.index(kind)] = self._clock() + self._seconds

    def passes(self, kind: str = "") -> bool:
        """Return whether the kind's last interval has passed; if so, begin the next interval."""
        if not self.is_open(kind):
            return False
        self.close(kind)
        return True


class Deadline:
    """The time when an exchange, or a part of it, must have ended."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """The deadline is `seconds` from now, by the boot clock."""
        self._clock = clock
        self._ends = clock.boot() + seconds

    def rest(self) -> float:
        """Seconds that are left. Raises TimeoutError if none are left."""
        rest = self._ends - self._clock.boot()
        if rest <= 0:
            raise TimeoutError("timed out")
        return rest

    def bound(self, call: Callable[[], R]) -> R:
        """Run `call`; return its result, or raise its error. Raises TimeoutError if the call has not ended by the
        deadline, and RuntimeError if no thread can be started.

        Use it for a call that takes no timeout, such as the search for a name's address. The call runs in its own
        thread. After the deadline the thread continues until the call ends by itself; the result is dropped, and the
        process does not wait for it.
        """
        rest = self.rest()
        return result_within(in_thread(call), rest, "timed out")


def in_thread(call: Callable[[], R]) -> Future[R]:
    """Start a call in its own thread; returns the future that will have its result. Nothing can cancel the call."""
    ended: Future[R] = Future()
    threading.Thread(target=_complete, args=(call, ended), name="bounded-call", daemon=True).start()
    return ended


def result_within(ended: Future[R], seconds: float, words: str) -> R:
    """Wait for a call that `in_thread` started; return its result, or raise its error. Raises TimeoutError with `words`
    if the call has not ended within `seconds`.

    If the call itself raises a TimeoutError, that error keeps its own words, which say more than `words`.
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
