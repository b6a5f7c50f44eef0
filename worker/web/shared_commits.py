"""Commit items that arrive together in one transaction. One thread of the process commits; each caller gets the result
of the commit of its item.

A commit does not wait for more items to arrive. Items that arrive while one commit runs go into the next commit.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass
from typing import Generic, NamedTuple, TypeVar

import structlog

from worker.domain.callbacks.overload import CommitEnd, CommitHealth

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
Followed = TypeVar("Followed")


class _Waiting(NamedTuple, Generic[T]):
    item: T
    future: Future[None]
    gives_up_at: float


@dataclass(eq=False)
class SharedCommits(Generic[T, Followed]):
    """The committing thread, and the items that wait for it. Made after the fork; safe to use from several threads.

    `commit` commits several items in one transaction. After the callers have their results, `follow` is called with the
    value that `commit` returned. `follow` must not raise errors.

    If a commit of several items fails, they are committed one by one, except those whose caller no longer waits. But if
    `is_hopeless` is true for the error, because the database is unavailable, all items fail at once. `is_locked` tells
    whether an error means that a row is locked; if the lock lasts, the database counts as unavailable. `key` returns a
    hashable value; items with the same value may wait for the same row.
    """

    commit: Callable[[Sequence[T]], Followed]
    follow: Callable[[Followed], None]
    _: KW_ONLY
    is_hopeless: Callable[[Exception], bool]
    is_locked: Callable[[Exception], bool]
    key: Callable[[T], object]
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._health = CommitHealth()
        self._waiting: list[_Waiting[T]] = []
        self._unanswered = 0
        self._locked_key: object = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="shared-commits", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the committing thread runs. Without this thread, nothing is committed."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many items wait for the next commit."""
        return len(self._waiting)

    @property
    def unanswered(self) -> int:
        """How many items wait for a result, including those of the commit under way."""
        return self._unanswered

    def submit(self, item: T, *, patience_seconds: float) -> None:
        """Return once the item is committed. Raises the error of the commit. Raises TimeoutError after
        `patience_seconds`, or at once while the database does not answer.

        After a TimeoutError, the item is dropped if no commit has taken it yet. If it is being committed, it may be
        stored.
        """
        future: Future[None] = Future()
        with self._changed:
            if self._is_closed:
                raise TimeoutError("this process is stopping")
            now = self.clock()
            if not self._health.takes(now, waiting=self._unanswered):
                raise TimeoutError("the database does not answer at present, or a lock lasts")
            self._health = self._health.taken(now)
            self._waiting.append(_Waiting(item, future, now + patience_seconds))
            self._unanswered += 1
            self._changed.notify()
        try:
            future.result(patience_seconds)
        except TimeoutError:
            future.cancel()
            raise
        finally:
            with self._changed:
                self._unanswered -= 1

    def close(self) -> None:
        """Commit the waiting items, then end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            # Once an item is taken, its caller can no longer cancel it.
            taken = [one for one in batch if one.future.set_running_or_notify_cancel()]
            try:
                if taken:
                    self._commit_all(taken)
            except Exception:
                # The thread must continue: without it nothing would be committed until a restart. The log line is
                # written before the callers get an error, so that the reason of the error is in the log by then.
                log.exception("a commit failed by a defect of the program", action="commit_failed")
                for one in taken:
                    if not one.future.done():
                        one.future.set_exception(TimeoutError("a defect of the program"))

    def _next_batch(self) -> list[_Waiting[T]]:
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            batch, self._waiting = self._waiting, []
            return batch

    def _commit_all(self, taken: Sequence[_Waiting[T]]) -> None:
        try:
            followed = self._commit_once([one.item for one in taken])
        except Exception as error:
            if len(taken) == 1 or self.is_hopeless(error):
                for one in taken:
                    one.future.set_exception(error)
            else:
                self._commit_singly(taken)
            return
        for one in taken:
            one.future.set_result(None)
        self.follow(followed)

    def _commit_once(self, items: Sequence[T]) -> Followed:
        with self._changed:
            self._health = self._health.begun(self.clock())
        end = CommitEnd.DONE
        try:
            return self.commit(items)
        except Exception as error:
            end = self._end_of(error, items)
            raise
        finally:
            with self._changed:
                self._health = self._health.ended(self.clock(), end)

    def _end_of(self, error: Exception, items: Sequence[T]) -> CommitEnd:
        if self.is_hopeless(error):
            return CommitEnd.AWAY
        if not self.is_locked(error):
            return CommitEnd.DONE
        if len(items) > 1:
            return CommitEnd.LOCKED
        key, before = self.key(items[0]), self._locked_key
        self._locked_key = key
        return CommitEnd.LOCKED if key == before else CommitEnd.LOCKED_ALONE

    def _commit_singly(self, taken: Sequence[_Waiting[T]]) -> None:
        locked = dict[object, Exception]()
        # Items that may wait for the row that was locked last are committed last. If the other items succeed, only that
        # row is locked, not the whole database.
        for one in sorted(taken, key=lambda one: self.key(one.item) == self._locked_key):
            key = self.key(one.item)
            # Each of these commits may take long, and newly arrived items wait for all of them. So an item fails
            # without a commit if it could not succeed, or if its caller no longer waits.
            if self._health.is_away:
                one.future.set_exception(TimeoutError("a lock in the database lasts"))
            elif key in locked:
                one.future.set_exception(locked[key])
            elif self.clock() < one.gives_up_at:
                self._commit_all([one])
                error = one.future.exception()
                if isinstance(error, Exception) and self.is_locked(error):
                    locked[key] = error
            else:
                one.future.set_exception(TimeoutError("its caller no longer waits for it"))
