"""Celery's result backends, with a bound: a silent one must not keep a pool process from taking orders in.

Celery waits for the backend's socket timeout, twice: where it cannot store a result it stores the error of that.
`worker.celery` names these classes to Celery by the scheme of the backend's URL.
"""

import os
from concurrent.futures import Future
from functools import cache, partial
from typing import Any

import structlog
from celery.app.backends import BACKEND_ALIASES
from celery.backends.base import Backend
from kombu.utils.imports import symbol_by_name

from worker.adapters.clock import Throttle, in_thread, result_within
from worker.adapters.safe_text import first_words

log = structlog.stdlib.get_logger(__name__)
_STORE_SECONDS = 2.0
_lines = Throttle(60.0)


class BoundedBackend(Backend):
    """Drops a result that is not stored in time, and each further one until that attempt has ended."""

    _storing: Future[Any] = Future()
    # A process that was forked meanwhile has not the thread that stores.
    _owner = 0

    def store_result(self, *args: Any, **named: Any) -> None:
        """Store a task's result or error, or drop it. Raises nothing: the task has committed its work."""
        is_free = self._owner != os.getpid() or self._storing.done()
        try:
            if is_free:
                # In a thread: the backend's own timeout is longer, and counts twice.
                store = partial(super().store_result, *args, **named)
                self._owner, self._storing = os.getpid(), in_thread(store)
            result_within(self._storing, _STORE_SECONDS * is_free, f"no answer within {_STORE_SECONDS:g} s")
        except Exception as error:
            if _lines.passes():
                words = "results are dropped: the result backend does not take them; this is logged once a minute"
                log.warning(words, action="result_dropped", error=f"{type(error).__name__}: {first_words(error)}")


@cache
def __getattr__(scheme: str) -> type:
    """Celery's backend of a scheme, bounded. Made when it is named: each needs a library that may be missing."""
    if scheme not in BACKEND_ALIASES:
        raise AttributeError(scheme)
    return type(scheme, (BoundedBackend, symbol_by_name(BACKEND_ALIASES[scheme])), {})
