"""Limit how long Celery waits for its result backend: a silent backend must not stop the intake of orders.

Celery itself waits for the backend's socket timeout twice: if it cannot store a result, it then tries to store the
error. `worker.celery` tells Celery which of these classes to use for each scheme of the backend's URL.
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
    """Drops a result that is not stored in time, and every later result until the attempt to store this one ends."""

    _storing: Future[Any] = Future()
    # The id of the process whose thread stores a result. A child that is forked during this time copies `_storing`, but
    # has no such thread, so it must not wait for it.
    _owner = 0

    def store_result(self, *args: Any, **named: Any) -> None:
        """Store a task's result or error, or drop it. Raises nothing: the task has committed its work."""
        is_free = self._owner != os.getpid() or self._storing.done()
        try:
            if is_free:
                # Store in a thread: the backend's own timeout is too long, and Celery would wait for it twice.
                store = partial(super().store_result, *args, **named)
                self._owner, self._storing = os.getpid(), in_thread(store)
            result_within(self._storing, _STORE_SECONDS * is_free, f"no answer within {_STORE_SECONDS:g} s")
        except Exception as error:
            if _lines.passes():
                words = "results are dropped: the result backend does not take them; this is logged once a minute"
                log.warning(words, action="result_dropped", error=f"{type(error).__name__}: {first_words(error)}")


@cache
def __getattr__(scheme: str) -> type:
    """The bounded Celery backend for a URL scheme. Created on first use: the scheme's library may be missing."""
    if scheme not in BACKEND_ALIASES:
        raise AttributeError(scheme)
    return type(scheme, (BoundedBackend, symbol_by_name(BACKEND_ALIASES[scheme])), {})
