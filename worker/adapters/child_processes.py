"""Child processes: this module starts, watches and stops programs for `reconciler run`, the demo, the tests and the
benchmarks.

A child leads its own process group, or shares one with other children. So Ctrl-C in a terminal reaches only the process
that started the children, which then stops them in order. When a child is killed, the programs that it has started are
killed too. To run a program to its end and read its output, `subprocess.run` is enough.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, Self, TypeVar

from worker.domain.records.sentences import Sentence, _

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals by which a person, a supervisor or a closing terminal tells a program to end."""

_POLL_SECONDS = 0.2
T = TypeVar("T")
_GUARD = "import os, signal, sys; sys.stdin.buffer.read(); os.killpg(0, signal.SIGKILL)"


class ChildError(RuntimeError):
    """A child ended by itself, or something took too long. `str()` says what happened, followed by the last lines of
    the child's log."""


class Child:
    """A program that was started. If it is used in a `with` block, the program is killed at the end of the block,
    whatever happens."""

    lines_in_errors = 12
    """An error shows at most this many lines from the end of the log."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        log: Path | None = None,
        group: "ChildGroup | None" = None,
        is_piped: bool = False,
        ends_with_starter: bool = False,
        **more: Any,
    ) -> None:
        """Start the program; `name` is its name in errors. Raises OSError if it cannot be started.

        `log`: the file to which the program's output and errors are appended; if None, they go where this process's own
        go.
        `group`: the group that the program joins; if None, it leads its own process group, which is killed with it.
        `is_piped`: the program's standard input and output are the property `pipes`. Otherwise its standard input is
        empty, because a process group in the background must not read from the terminal.
        `ends_with_starter`: on Linux, the program gets SIGTERM when the thread that started it ends, even if SIGKILL
        ends it.
        `more`: further arguments of `Popen`, such as `env`, `cwd` and `user`.
        """
        self.name = name
        self.log = log
        self._is_alone = group is None
        with nullcontext() if log is None else log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if is_piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if is_piped else output,
                stderr=None if output is None else subprocess.STDOUT,
                text=True,
                process_group=group.leader if group else 0,
                preexec_fn=_end_with_starter() if ends_with_starter else None,
                **more,
            )
        if group:
            group.children.append(self)

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})" if self._process.poll() is None else self.end

    @property
    def end(self) -> Sentence:
        """How the program ended. Waits until the program has ended."""
        status = self._process.wait()
        if status >= 0:
            return _("%(name)s ended with status %(status)s", self.name, status)
        return _("%(name)s ended with signal %(signal)s", self.name, -status)

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """The text that the log contains so far; empty if the program has no log."""
        return "" if self.log is None else self.log.read_text(encoding="utf-8", errors="replace")

    def has_ended(self) -> bool:
        """Whether the program has ended, for whatever reason."""
        return self._process.poll() is not None

    def check(self) -> None:
        """Raise ChildError if the program has ended."""
        if self.has_ended():
            raise ChildError(f"{self} by itself{self.end_of_log()}")

    def end_of_log(self) -> str:
        """The last lines of the log, as a text to append to an error's text; empty if there is no log."""
        if self.log is None:
            return ""
        lines = self.output.splitlines()[-self.lines_in_errors :]
        return "\n".join([f"; the end of {self.log}:", *(lines or ["(it wrote nothing)"])])

    @property
    def pipes(self) -> tuple[IO[str], IO[str]]:
        """The standard input and output of a piped child, for the starter to write to and read from. Raises ValueError
        if the child is not piped."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError(f"{self.name} was started without pipes")
        return self._process.stdin, self._process.stdout

    def send_signal(self, number: signal.Signals) -> None:
        """Send the program a signal, unless it has ended. Programs that it has started get no signal."""
        self._process.send_signal(number)

    def wait(self, *, seconds: float | None = None) -> int:
        """Wait until the program has ended; returns its exit status, or the negative number of the signal that ended
        it.

        Raises ChildError if the program has not ended after `seconds`.
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ChildError(f"{self.name} did not end within {seconds:g} s{self.end_of_log()}") from None

    def stop(self, *, seconds: float, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask the program to end, and kill it if it has not ended after `seconds`. Returns its exit status, as `wait`
        does."""
        stop_all([self], seconds=seconds, how=how)
        return self.wait()

    def kill(self) -> None:
        """Kill the program at once. If it leads its own group, the whole group is killed. Harmless if the program has
        ended."""
        if self._is_alone:
            _kill_group(self.pid)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # Closing fails if unwritten data is left. The error is ignored, because the data is of no use to a program
            # that has ended.
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class ChildGroup:
    """Children that share one process group. If it is used in a `with` block, the whole group is killed at the end of
    the block.

    With a guard, the group ends whatever happens to the starter. The guard is a small program that leads the group and
    reads from a pipe that the starter keeps open. When the starter ends, crashes or is killed, the pipe closes. Then
    the guard kills the group with SIGKILL. Without a guard, the first child leads the group.
    """

    def __init__(self, *, has_guard: bool = False) -> None:
        self.children: list[Child] = []
        """All programs that were started in the group, oldest first."""
        if has_guard:
            Child([sys.executable, "-I", "-S", "-c", _GUARD], name="guard", is_piped=True, group=self)

    @property
    def leader(self) -> int:
        """The id of the group, which is the process id of its first child; 0 if there is no child yet."""
        return self.children[0].pid if self.children else 0

    def kill(self) -> None:
        """Kill the whole group at once, also the programs that the children have started in it."""
        # Without children the leader is 0, which would mean our own group.
        if self.children:
            _kill_group(self.leader)
        for child in self.children:
            child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def stop_all(children: Collection[Child], *, seconds: float, how: signal.Signals = signal.SIGTERM) -> None:
    """Ask all children to end at the same time, and kill those that have not ended after `seconds`."""
    for child in children:
        # SIGCONT comes first: a child that was stopped by SIGSTOP would not react to the signal `how` until it
        # continues.
        child.send_signal(signal.SIGCONT)
        child.send_signal(how)
    give_up = time.monotonic() + seconds
    for child in children:
        try:
            child.wait(seconds=max(0.0, give_up - time.monotonic()))
        except ChildError:
            child.kill()


def wait_until(
    is_ready: Callable[[], T],
    what: str,
    *,
    seconds: float,
    poll_seconds: float = _POLL_SECONDS,
    children: Collection[Child] = (),
) -> T:
    """Wait until `is_ready` returns something true, and return that. Raises ChildError after `seconds`, or if one of
    `children` ends before that."""
    give_up = time.monotonic() + seconds
    while True:
        # Look for children that have ended before calling `is_ready`, so that `is_ready` still sees the last thing that
        # an ended child did.
        ended = [child for child in children if child.has_ended()]
        if ready := is_ready():
            return ready
        for child in ended:
            child.check()
        if time.monotonic() > give_up:
            logs = "".join(child.end_of_log() for child in children)
            raise ChildError(f"{what} did not come within {seconds:g} s{logs}")
        time.sleep(poll_seconds)


@contextmanager
def stop_signals_handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Within the context, call `handle` on SIGTERM, SIGINT and SIGHUP, with the signal's number. Use this in the main
    thread.

    `handle` must not raise: an error between two steps of `Popen.poll` would leave an internal lock of the `Popen`
    object locked. Waiting for the child's end would then never return.
    """

    def call(number: int, frame: FrameType | None) -> None:
        handle(number)

    # A signal stays ignored if this process was started with the signal ignored (by `nohup`, or in the background of a
    # script).
    handled = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, call) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def environment_of_programs(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, adapted for a program of ours. Its RECONCILER_ variables are replaced by `settings`.

    PYTHONPATH is set because a program that runs in another folder than the checkout would not find modules that are
    not installed. The program's output is not buffered, so that it can be read at once.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("RECONCILER_")}
    paths = [str(Path(__file__).parents[2]), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"} | dict(settings)


def _end_with_starter() -> Callable[[], None] | None:
    """A function that `Popen` runs in the new process; because of it, the program gets SIGTERM when its starter ends,
    even by SIGKILL. None on systems other than Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1

    def arrange() -> None:
        prctl(set_death_signal, signal.SIGTERM)

    return arrange


def _kill_group(leader: int) -> None:
    # macOS raises PermissionError if only zombies are left in the group.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
