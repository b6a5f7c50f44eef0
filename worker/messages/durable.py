"""Tasks whose messages are not lost."""

from typing import Any

import structlog
from celery import Task
from celery.exceptions import Reject

from worker.adapters.error_text import first_words
from worker.database.error_kinds import kind_of
from worker.database.transactions import is_transient

log = structlog.stdlib.get_logger(__name__)


class DurableTask(Task):
    """A task whose message is not lost: acknowledged after the commit, delivered again when the process dies.

    Retried without end, at most a minute apart, while the database is away, full, read-only or otherwise not to be
    had. A retry is a new message, sent before the old one is acknowledged.
    """

    acks_late = True
    reject_on_worker_lost = True
    # An operator may start the worker with a time limit.
    acks_on_timeout = False
    autoretry_for = (Exception,)
    max_retries = None
    retry_backoff = True
    retry_backoff_max = 60
    retry_jitter = True

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Put the message back where the broker does not take the retry: Celery itself would drop it."""
        error = kwargs.get("exc")
        if error is not None and not is_transient(error):
            # Time mends no mistake of ours. The message is kept all the same: it may be the only word of an order.
            log.error("a task fails, and not for want of a database", action="task_failed", exc_info=error)
        elif error is not None and (kind := kind_of(error)) is not None:
            words = f"a task is put off: {kind.words}"
            log.warning(words, action=kind.action, task=self.name, error=first_words(error))
        try:
            return super().retry(*args, **kwargs)
        except Reject as refused:
            raise Reject(str(refused.reason), requeue=True) from refused
