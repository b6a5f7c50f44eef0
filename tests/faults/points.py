"""The named points that a process under test passes, and what happens to it there.

A scenario arms a point by writing a file; the first process that passes takes the file by renaming it, so each arming
strikes once. A thread that waits at a point continues when the scenario writes another file.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from pathlib import Path

import pymysql
from sqlalchemy.exc import OperationalError

_POLL_SECONDS = 0.01
_LONGEST_WAIT = 120.0


class Strike(StrEnum):
    """What happens to the process that passes a point."""

    KILL = "kill"
    """kill -9 of itself."""
    WAIT = "wait"
    """This thread waits until the scenario lets it go; the others continue."""
    LOSE_RACE = "lose-race"
    """The transaction fails with MariaDB's error 1020: a row was changed since it was read."""


class Point(StrEnum):
    """Where a process can be struck."""

    GRANT_BEFORE_COMMIT = "grant-before-commit"
    GRANT_AFTER_COMMIT = "grant-after-commit"
    """Committed, and nothing sent yet."""
    WRITE_BACK_BEGINS = "write-back-begins"
    """The exchange is answered or has failed; nothing is written yet."""
    WRITE_BACK_BEFORE_COMMIT = "write-back-before-commit"
    WRITE_BACK_AFTER_COMMIT = "write-back-after-commit"
    INTAKE_BEFORE_COMMIT = "intake-before-commit"
    INTAKE_AFTER_COMMIT = "intake-after-commit"
    CLAIM_BEFORE_COMMIT = "claim-before-commit"
    """Notifications are claimed. A transaction that notes ends as well passes the points of the note."""
    CLAIM_AFTER_COMMIT = "claim-after-commit"
    """Committed, and nothing sent yet."""
    NOTE_BEFORE_COMMIT = "note-before-commit"
    """Deliveries have ended, and only their process knows it."""
    NOTE_AFTER_COMMIT = "note-after-commit"
    RECEIPT_BEGINS = "receipt-begins"
    """Callbacks have come over HTTP; nothing is written yet."""
    RECEIPT_COMMITTED = "receipt-committed"
    """They are committed; no sender is answered yet."""


class Points:
    """The points of one testbed, on both sides: the scenario's and the processes'."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arm(self, point: Point, strike: Strike, *, after: int = 0) -> None:
        """Strike the process that passes this point next, or after so many others have passed."""
        # Written whole: a process may pass, and take the file, between its creation and its first byte.
        prepared = self._file(point, "prepared")
        prepared.write_text(f"{strike} {after}")
        prepared.rename(self._file(point, "armed"))

    def disarm(self) -> None:
        """Strike no more processes, and let waiting threads go."""
        for point in Point:
            self._file(point, "armed").unlink(missing_ok=True)
            self.let_go(point)

    def struck(self, point: Point) -> int | None:
        """The process that was struck at this point since the last call; None while there is none."""
        taken = self._file(point, "taken")
        try:
            pid = int(taken.read_text())
        except (FileNotFoundError, ValueError):
            return None
        taken.unlink()
        return pid

    def let_go(self, point: Point) -> None:
        """Let the thread that waits at this point continue."""
        self._file(point, "go").touch()

    def has_continued(self, point: Point) -> bool:
        """Whether the thread that was let go at this point has continued."""
        return not self._file(point, "go").exists()

    def passes(self, point: Point) -> None:
        """A process passes a point: the armed strike happens to it."""
        armed, taken = self._file(point, "armed"), self._file(point, "taken")
        claimed = self._file(point, f"claimed-{os.getpid()}")
        try:
            armed.rename(claimed)
        except FileNotFoundError:
            return
        strike, after = claimed.read_text().split()
        claimed.unlink()
        if int(after) > 0:
            self.arm(point, Strike(strike), after=int(after) - 1)
            return
        self._file(point, "go").unlink(missing_ok=True)
        # Written whole before it appears: the scenario polls for it.
        claimed.write_text(str(os.getpid()))
        claimed.rename(taken)
        self._strike(point, Strike(strike))

    def _strike(self, point: Point, strike: Strike) -> None:
        match strike:
            case Strike.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Strike.LOSE_RACE:
                lost = pymysql.err.OperationalError(1020, "Record has changed since last read in table")
                raise OperationalError("COMMIT", {}, lost)
            case Strike.WAIT:
                give_up = time.monotonic() + _LONGEST_WAIT
                while not self._file(point, "go").exists() and time.monotonic() < give_up:
                    time.sleep(_POLL_SECONDS)
                self._file(point, "go").unlink(missing_ok=True)

    def _file(self, point: Point, state: str) -> Path:
        return self._folder / f"{point}.{state}"


_doing: ContextVar[str] = ContextVar("doing", default="intake")


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Transactions in this context belong to a grant, a write-back or the intake."""
    token = _doing.set(what)
    try:
        yield
    finally:
        _doing.reset(token)


def does(what: str, *, unless: str = "") -> None:
    """From now on, until the context ends, the transaction belongs to `what`; it stays what it is if it is `unless`."""
    if _doing.get() != unless:
        _doing.set(what)


def does_again(what: str, instead: str) -> None:
    """Another transaction starts: where the one before belonged to `what`, it belongs to `instead`."""
    if _doing.get() == what:
        _doing.set(instead)


def commit_point(when: str) -> Point | None:
    """The point `before` or `after` the commit of the current transaction; None where it has no such points."""
    if _doing.get() == "intake" and threading.current_thread() is not threading.main_thread():
        # Heartbeats and other work beside the tasks, which run in the main thread.
        return None
    name = f"{_doing.get()}-{when}-commit"
    return Point(name) if name in set(Point) else None
