"""Batches of single orders: how many share the next one, and one transaction for all of them in a process of the pool.

After the transaction Celery runs the task for each message. The task gets the transaction's result for its arguments
(`of_batch`), and ends as if it had run alone: with an answer, or with the transaction's error, and is retried.
`dispatch` holds the requests themselves.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import structlog
from billiard.einfo import ExceptionInfo
from celery import current_app
from celery.app.trace import trace_task_ret

from worker.database.transactions import is_transient

log = structlog.stdlib.get_logger(__name__)

MOST_TOGETHER = 250
"""Orders of one batch, at most."""
MOST_HELD = 2 * MOST_TOGETHER
"""Messages that are held at most: one batch under way, and one that waits."""

Arguments = tuple[list[Any], dict[str, Any]]
# What Celery's tracer returns for a task: whether it failed, its answer as text or its error, its seconds.
_Traced = tuple[int, Any, float]
_Outcome = Callable[[], object]

_outcome: ContextVar[_Outcome | None] = ContextVar("outcome of the batch", default=None)


class BatchWindow:
    """How many orders share the next batch, and how many more messages are prefetched meanwhile.

    It counts the orders that wait and those that are under way, on one connection to the broker, and holds no message.
    A commit costs about a millisecond, whatever its size. So one batch is under way at a time, and the orders that come
    meanwhile are the next: an order that comes alone does not wait, and the more come, the more share a commit.
    """

    def __init__(self, batches_at_once: int) -> None:
        """`batches_at_once`: how many batches may be under way together."""
        self._batches_at_once = batches_at_once
        self._waiting = 0
        self._under_way = 0
        self._batches = 0
        self._most = MOST_TOGETHER

    @property
    def extra_prefetch(self) -> int:
        """How many messages are prefetched beyond those that the processes work on.

        Each order that is held here adds one, as Celery does it for tasks with a later time. So single orders are
        collected, and no more lists are held than before.
        """
        return min(self._waiting + self._under_way, MOST_HELD)

    def arrive(self) -> None:
        """Count one more order that waits."""
        self._waiting += 1

    def next_batch(self) -> int:
        """Begin a batch and return how many of the waiting orders it takes; 0 where none may begin now."""
        if self._batches >= self._batches_at_once:
            return 0
        count = min(self._most, self._waiting)
        if count:
            self._batches += 1
            self._waiting -= count
            self._under_way += count
        return count

    def end_batch(self, count: int, succeeded: bool) -> None:
        """Count a batch of so many orders as ended.

        While the database is away, each order that fails becomes a retry, which is held in memory. So the next batch
        is of one, and each success after that doubles the size.
        """
        self._batches -= 1
        self._under_way -= count
        self._most = min(2 * self._most, MOST_TOGETHER) if succeeded else 1


def of_batch(alone: Callable[[], object]) -> object:
    """The answer of a task: its batch's result for its arguments, or what `alone` returns where it has no batch.

    Raises the batch's error.
    """
    outcome = _outcome.get() or alone
    return outcome()


def is_in_batch() -> bool:
    """Whether the task that is being run belongs to a batch."""
    return _outcome.get() is not None


def run(name: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[_Traced]:
    """Run a task for each of these (id, request), after one transaction for all. Called in a process of the pool."""
    task = current_app.tasks[name]
    arguments: list[Arguments] = [(request["args"], request["kwargs"]) for _, request in calls]
    outcomes = _try_together(task.together, arguments)
    return [
        _trace(name, task_id, request, outcome) for (task_id, request), outcome in zip(calls, outcomes, strict=True)
    ]


def _try_together(
    together: Callable[[list[Arguments]], Sequence[object]], arguments: list[Arguments]
) -> Sequence[_Outcome | None]:
    """The outcome of each call; None for all where each is to be tried alone."""
    try:
        return [_returning(answer) for answer in together(arguments)]
    except Exception as error:
        if is_transient(error):
            return [_raising(error)] * len(arguments)
        log.exception("a batch failed: its tasks are run one by one", action="batch_failed", tasks=len(arguments))
        return [None] * len(arguments)


def _returning(answer: object) -> _Outcome:
    return lambda: answer


def _raising(error: Exception) -> _Outcome:
    # Each task that raises it would add its own steps to the one traceback.
    traceback = error.__traceback__

    def fail() -> object:
        raise error.with_traceback(traceback)

    return fail


def _trace(name: str, task_id: str, request: dict[str, Any], outcome: _Outcome | None) -> _Traced:
    body: tuple[object, ...] = (request["args"], request["kwargs"], {})
    token = _outcome.set(outcome)
    try:
        traced: _Traced = trace_task_ret(name, task_id, request, body, None, None, app=current_app)
    except Exception:
        # Celery raises a rejection to the pool, which would reject the whole job by it.
        return 1, ExceptionInfo(), 0.0
    finally:
        _outcome.reset(token)
    return traced
