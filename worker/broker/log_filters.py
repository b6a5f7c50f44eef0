"""What Celery and kombu log of the broker: while it is away, one line a minute, with an action of its own.

Celery's beat logs a traceback for each tick that it cannot send, and its worker a line for each attempt to connect
again: thousands of lines in an outage of a minute, and none that an alert could use.
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
"""The loggers that report a broker that cannot be used; their records have the error as an argument."""

STOPPING_LOGGER = "kombu.transport.virtual.base"
"""The logger that reports messages which come in while the worker stops."""

log = structlog.stdlib.get_logger(__name__)


def is_no_requeue(record: logging.LogRecord) -> bool:
    """Whether a record is about anything but a message that came in when the worker had stopped to consume.

    kombu warns of an undeliverable message, and puts it back on its queue, where the next worker takes it: nothing is
    lost, and no person has to do anything.
    """
    return bool(record.msg != W_NO_CONSUMERS)


class BrokerOutageFilter(logging.Filter):
    """Replaces records about a broker's errors by a line `broker_unavailable`, at most one a minute.

    For the loggers in `LOGGERS`, all of which share one filter. Records about anything else pass as they are.
    """

    def __init__(
        self,
        broker_errors: Callable[[], tuple[type[BaseException], ...]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`broker_errors` returns the transport's own errors. It is called at the first record: it loads the transport.

        `monotonic` is a clock in seconds.
        """
        super().__init__()
        self._broker_errors = broker_errors
        self._lines = Throttle(60.0, clock=monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged as it is."""
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
        # kombu counts a KeyError among those of Redis. It may also be a defect of this code, which must be logged.
        return tuple(kind for kind in self._broker_errors() if kind is not KeyError)

    def _broker_error_of(self, record: logging.LogRecord) -> BaseException | None:
        if record.levelno < logging.WARNING:
            return None
        found = [record.exc_info[1] if record.exc_info else None]
        found.extend(one for one in record.args or () if isinstance(one, BaseException))
        chain = (error for one in found if one is not None for error in _chain(one))
        return next((error for error in chain if isinstance(error, self._errors)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: beat wraps what the broker's client raised."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
