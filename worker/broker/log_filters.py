"""Filter the log lines of Celery and kombu about the broker. An outage leads to one line a minute, with its own action.

Otherwise beat would log a traceback for each tick that it cannot send, and the worker would log a line for each attempt
to connect again. An outage of a minute would cause thousands of lines, and no alert could be built on any of them.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import cached_property

import structlog
from kombu.transport.virtual.base import W_NO_CONSUMERS

from worker.adapters.clock import Throttle
from worker.adapters.safe_text import first_words

LOGGERS = ("celery.beat", "celery.worker.consumer.consumer")
"""The loggers that report an unusable broker. A record of these loggers has the error as an argument."""

STOPPING_LOGGER = "kombu.transport.virtual.base"
"""The logger that reports messages that arrive while the worker stops."""

log = structlog.stdlib.get_logger(__name__)


def is_no_requeue(record: logging.LogRecord) -> bool:
    """Whether to keep a record: False only for kombu's warning that a message arrived after consuming had stopped.

    The warning is not needed: kombu puts the message back into its queue, and the next worker takes it from there.
    """
    return bool(record.msg != W_NO_CONSUMERS)


class BrokerOutageFilter(logging.Filter):
    """Replaces records about a broker's errors by a line `broker_unavailable`, at most once a minute.

    All loggers in `LOGGERS` share one filter. Other records pass unchanged.
    """

    def __init__(
        self,
        broker_errors: Callable[[], tuple[type[BaseException], ...]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`broker_errors` returns the transport's error classes. The function loads the transport, so it is called only
        when the first record has to be compared with these classes.

        `monotonic` is a clock in seconds.
        """
        super().__init__()
        self._broker_errors = broker_errors
        self._lines = Throttle(60.0, clock=monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged unchanged."""
        error = self._broker_error_of(record)
        if error is None:
            return True
        if self._lines.passes():
            log.warning(
                "the broker cannot be used; it is tried again, and this is logged once a minute",
                action="broker_unavailable",
                error=f"{type(error).__name__}: {first_words(error)}",
                said_by=record.name,
            )
        return False

    @cached_property
    def _errors(self) -> tuple[type[BaseException], ...]:
        # kombu lists KeyError among Redis's errors. But a KeyError may also be a defect of our own code, and a defect
        # must be logged.
        return tuple(kind for kind in self._broker_errors() if kind is not KeyError)

    def _broker_error_of(self, record: logging.LogRecord) -> BaseException | None:
        if record.levelno < logging.WARNING:
            return None
        found = [record.exc_info[1] if record.exc_info else None]
        found.extend(one for one in record.args or () if isinstance(one, BaseException))
        chain = (error for one in found if one is not None for error in _chain(one))
        return next((error for error in chain if isinstance(error, self._errors)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes. The causes are needed because beat wraps the error of the broker's client."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
