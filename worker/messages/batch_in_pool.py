"""In a process of the pool: one transaction for the arguments of many messages, then Celery's task for each message.

The task finds what the transaction made of its arguments (`of_batch`), and ends as if it had done it itself: with an
answer, or with the error that the transaction failed by, upon which it is retried.
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

Arguments = tuple[list[Any], dict[str, Any]]
# What Celery's tracer returns for a task: whether it failed, its answer as text or its error, its seconds.
_Traced = tuple[int, Any, float]
_Outcome = Callable[[], object]

_outcome: ContextVar[_Outcome | None] = ContextVar("outcome of the batch", default=None)


def of_batch(alone: Callable[[], object]) -> object:
    """The answer of a task: what its batch made of its arguments, or else what it does alone.

    Raises what the batch failed by.
    """
    outcome = _outcome.get() or alone
    return outcome()


def is_in_batch() -> bool:
    """Whether a task is being run whose arguments were taken in together with others."""
    return _outcome.get() is not None


def run(name: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[_Traced]:
    """Run a task for each of these (id, request) in a process of the pool, after the one transaction for all."""
    task = current_app.tasks[name]
    arguments: list[Arguments] = [(request["args"], request["kwargs"]) for _, request in calls]
    outcomes = _try_together(task.together, arguments)
    return [
        _trace(name, task_id, request, outcome) for (task_id, request), outcome in zip(calls, outcomes, strict=True)
    ]


def _try_together(
    together: Callable[[list[Arguments]], Sequence[object]], arguments: list[Arguments]
) -> Sequence[_Outcome | None]:
    """What became of each call; None for all where each is to be tried alone."""
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
        # Celery lets a rejection through to the pool, which would take it for the whole job's.
        return 1, ExceptionInfo(), 0.0
    finally:
        _outcome.reset(token)
    return traced
