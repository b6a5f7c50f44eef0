"""Programs that live and end together: when one ends, or a signal says so, all do, and nothing is left running."""

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A program that ended."""

    name: str
    status: int
    """Negative: the number of the signal that ended it."""

    def __str__(self) -> str:
        how = f"status {self.status}" if self.status >= 0 else f"signal {-self.status}"
        return f"{self.name} ended with {how}"


def run_together(
    programs: Mapping[str, Sequence[str]],
    *,
    patience_seconds: float,
    started: Callable[[Mapping[str, int]], None],
    stopping: Callable[[], None],
) -> Ended | None:
    """Run programs until one ends or a signal comes; returns the one that ended by itself, None after a signal.

    SIGTERM, SIGINT and SIGHUP reach the programs as SIGTERM, upon which they are to end in order. A second signal, or
    `patience_seconds` after the first, kills them. `started` gets their process ids by name. To be called in the main
    thread. Raises OSError where a program cannot be started.
    """
    # Put from a signal's handler as well: of the queues, only this one may be.
    events: queue.SimpleQueue[Ended | int] = queue.SimpleQueue()
    running: dict[str, subprocess.Popen[bytes]] = {}
    with _signals_put_to(events):
        try:
            for name, command in programs.items():
                running[name] = _start(command, group=_group_of(running))
            group = _group_of(running)
            for name, process in running.items():
                threading.Thread(target=_wait, args=(name, process, events), daemon=True).start()
            started({name: process.pid for name, process in running.items()})
            return _until_all_ended(dict(running), group, events, patience_seconds, stopping)
        finally:
            # Whoever is left: what a killed program has started, or all, where one could not be started.
            _kill(_group_of(running))
            for process in running.values():
                process.wait()


def _start(command: Sequence[str], group: int) -> subprocess.Popen[bytes]:
    # A group of their own, so that Ctrl-C in the terminal reaches us alone and is passed on once: a worker that gets it
    # twice drops what it is doing. No standard input: a group in the background must not read from the terminal.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=group, preexec_fn=_end_with_parent())


def _end_with_parent() -> Callable[[], None] | None:
    """What a program does before it begins, so that it gets SIGTERM even where we are killed; on Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1

    def arrange() -> None:
        prctl(set_death_signal, signal.SIGTERM)

    return arrange


def _group_of(running: Mapping[str, subprocess.Popen[bytes]]) -> int:
    """The group is called after its first member; 0 begins one."""
    return next((process.pid for process in running.values()), 0)


def _until_all_ended(
    running: dict[str, subprocess.Popen[bytes]],
    group: int,
    events: "queue.SimpleQueue[Ended | int]",
    patience_seconds: float,
    stopping: Callable[[], None],
) -> Ended | None:
    first = events.get()
    if isinstance(first, Ended):
        del running[first.name]
    stopping()
    give_up = time.monotonic() + patience_seconds
    for process in running.values():
        process.terminate()
    while running:
        try:
            event = events.get(timeout=max(0.0, give_up - time.monotonic()))
        except queue.Empty:
            _kill(group)
            event = events.get()
        if isinstance(event, Ended):
            del running[event.name]
        else:
            _kill(group)
    return first if isinstance(first, Ended) else None


def _wait(name: str, process: subprocess.Popen[bytes], events: "queue.SimpleQueue[Ended | int]") -> None:
    events.put(Ended(name=name, status=process.wait()))


def _kill(group: int) -> None:
    # 0 would be our own group. macOS answers EPERM where only zombies are left.
    if group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def _signals_put_to(events: "queue.SimpleQueue[Ended | int]") -> Iterator[None]:
    def put(number: int, frame: FrameType | None) -> None:
        events.put(number)

    # What is ignored stays ignored: `nohup` means it.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    changed = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in changed:
        signal.signal(number, put)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)
