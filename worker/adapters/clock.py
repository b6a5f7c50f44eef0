"""The two clocks of a host: the boot clock, which cannot be set, and the wall clock; and timers that go by them.

The boot clock decides whether a query may be sent, on the host that sent the last one: stepping the wall clock, or the
database's, neither opens nor blocks the limit. Its readings mean something only within one boot of one host, so each
is stored with the identity of the boot: its id, and in a time namespace also that namespace, whose CLOCK_BOOTTIME has
an offset of its own (time_namespaces(7)).
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

# CLOCK_MONOTONIC stands still while a Linux machine is suspended, so a wait measured by it would be too long, and a
# deadline would be overrun. On macOS there is no CLOCK_BOOTTIME, and CLOCK_MONOTONIC itself counts sleep.
if sys.platform == "linux":
    _BOOT_CLOCK = time.CLOCK_BOOTTIME
else:
    _BOOT_CLOCK = time.CLOCK_MONOTONIC

_PROC = Path("/proc")
# The kernel gives the initial time namespace this number (PROC_TIME_INIT_INO).
_INITIAL_NAMESPACE = "time:[4026531834]"
_DIGITS_OF_NAMESPACE = 24
"""With the 36 characters of a boot id and a plus sign they fit into the 64 of the column."""


class Clock(Protocol):
    """What decisions about time are made with. Read only at the edge: pure functions take times as arguments."""

    @property
    def boot_id(self) -> str:
        """Names the boot within which `boot()` readings can be compared: 1 to 64 characters."""

    def boot(self) -> float:
        """Seconds since some fixed moment of this boot, suspend included. Never steps."""

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
        """The kernel's id of this boot; in a time namespace with a hash of that namespace; an id of this process where
        the kernel does not give both."""
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
        # An identity that no other process has is the safe choice: it makes the database's clock decide after every
        # restart, where a constant would have readings of two boots, or of two namespaces, compared.
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
    """What identifies, within this boot, the time namespace whose clocks this process reads; None in the initial one.
    Raises OSError or ValueError where it cannot be read."""
    try:
        link = os.readlink(proc / "self/ns/time")
    except FileNotFoundError:
        # A kernel before 5.6, or a system without them: there is no other namespace.
        return None
    if link == _INITIAL_NAMESPACE:
        # timens_offsets does not count here: it shows the namespace of the process's children, which may be another.
        return None
    offsets = (proc / "self/timens_offsets").read_text("ascii")
    # The number of a namespace that is gone may be given to another one: their offsets differ.
    (offset,) = (line.split()[1:] for line in offsets.splitlines() if line.split()[:1] == ["boottime"])
    return " ".join([link, *offset])


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


def seconds_since(moment: float | None) -> float | None:
    """How long ago a moment of the monotonic clock was; None if there was none."""
    return None if moment is None else time.monotonic() - moment


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
        on until the call ends by itself: its result is dropped, and the process does not wait for it.
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
