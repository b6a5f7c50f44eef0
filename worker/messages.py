"""How messages are taken from the broker: none ends the worker, and none that matters is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery import Task
from celery.exceptions import InvalidTaskError, Reject
from celery.worker.request import Request
from kombu.exceptions import ContentDisallowed, DecodeError

from worker.adapters.database.engine import is_contention, is_unavailable

log = structlog.stdlib.get_logger(__name__)

_DEEPEST_NESTING = 100


class CheckedRequest(Request):
    """A message whose fields are of the types that Celery takes them for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with _ends_the_message_alone():
            super().__init__(*args, **kwargs)
        retries = self.request_dict.get("retries") or 0
        if not (
            isinstance(self.id, str)
            and isinstance(self.args, list | tuple)
            and isinstance(self.kwargs, dict)
            and isinstance(retries, int)
        ):
            raise InvalidTaskError("not a task's message: a field has a value of the wrong type")
        # A caller's time limit would kill the process, and the passes that run in it.
        self.time_limits = (None, None)


class CheckedTask(Task):
    """A task of which no message can end the worker: one that Celery cannot work with is logged and dropped.

    Celery itself would end with it and put it back into its queue, where it would end the next worker as well.
    """

    Request = CheckedRequest

    def start_strategy(self, app: Any, consumer: Any, **kwargs: Any) -> Any:
        """What the worker does with a message for this task: checked before Celery looks inside."""
        handle = super().start_strategy(app, consumer, **kwargs)

        def check_and_handle(message: Any, body: Any, *more: Any, **options: Any) -> Any:
            with _ends_the_message_alone():
                payload = message.payload
            if not isinstance(payload, list | dict) or _is_nested_deeper(payload, _DEEPEST_NESTING):
                raise InvalidTaskError("not a task's message: its body is no list or object, or is nested too deeply")
            return handle(message, body, *more, **options)

        return check_and_handle


@contextmanager
def _ends_the_message_alone() -> Iterator[None]:
    """Turn whatever reading a message raises into the errors that Celery expects of one."""
    try:
        yield
    except (InvalidTaskError, ContentDisallowed, DecodeError):
        raise
    except Exception as error:
        raise InvalidTaskError(f"not a task's message: {error!r}") from error


def _is_nested_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested deeper: the pickling on the way to a process would exceed its recursion."""
    level = [value]
    for _ in range(levels):
        held = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, list | dict))
        level = [inner for inners in held for inner in inners if isinstance(inner, list | dict)]
        if not level:
            return False
    return True


class DurableTask(CheckedTask):
    """A task whose message is not lost: acknowledged after the commit, delivered again when the process dies.

    Retried without end, at most a minute apart, while the database is away. A retry is a new message, sent before the
    old one is acknowledged.
    """

    acks_late = True
    reject_on_worker_lost = True
    autoretry_for = (Exception,)
    max_retries = None
    retry_backoff = True
    retry_backoff_max = 60
    retry_jitter = True

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Put the message back where the broker does not take the retry: Celery itself would drop it."""
        error = kwargs.get("exc")
        if error is not None and not (is_unavailable(error) or is_contention(error)):
            # Time mends no mistake of ours. The message is kept all the same: it may be the only word of an order.
            log.error("a task fails, and not for want of a database", action="task_failed", exc_info=error)
        try:
            return super().retry(*args, **kwargs)
        except Reject as refused:
            raise Reject(str(refused.reason), requeue=True) from refused
