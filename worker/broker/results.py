"""Limit how long Celery waits for its result backend: a silent backend must not stop the intake of orders.

Celery itself waits twice for the backend's socket timeout: if it cannot store a result, it tries to store that error.
`worker.celery` tells Celery to use these classes, by the scheme of the backend's URL.
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
    """Drops a result that is not stored in time, and all later results until that attempt has ended."""

    _storing: Future[Any] = Future()
    # The id of the process whose thread stores. A process that is forked meanwhile does not have this thread.
    _owner = 0

    def store_result(self, *args: Any, **named: Any) -> None:
        """Store a task's result or error, or drop it. Raises nothing: the task has committed its work."""
        is_free = self._owner != os.getpid() or self._storing.done()
        try:
            if is_free:
                # In a thread, because the backend's own timeout is longer, and Celery waits for it twice.
                store = partial(super().store_result, *args, **named)
                self._owner, self._storing = os.getpid(), in_thread(store)
            result_within(self._storing, _STORE_SECONDS * is_free, f"no answer within {_STORE_SECONDS:g} s")
        except Exception as error:
            if _lines.passes():
                words = "results are dropped: the result backend does not take them; this is logged once a minute"
                log.warning(words, action="result_dropped", error=f"{type(error).__name__}: {first_words(error)}")


@cache
def __getattr__(scheme: str) -> type:
    """The bounded Celery backend for a URL scheme. Created on first use, because its library may be missing."""
    if scheme not in BACKEND_ALIASES:
        raise AttributeError(scheme)
    return type(scheme, (BoundedBackend, symbol_by_name(BACKEND_ALIASES[scheme])), {})
