"""Celery's consumer, which passes on messages that are rebuilt from checked parts, and what sends its events."""

from collections.abc import Mapping
from typing import Any

import structlog
from celery.events.dispatcher import EventDispatcher
from celery.worker.consumer import Consumer

from worker.broker.task_messages import LONGEST_TEXT, CheckedMessage, Unfit, brief

log = structlog.stdlib.get_logger(__name__)


class CheckedConsumer(Consumer):
    """Celery's consumer, which gets checked messages only.

    Celery itself ends on many forged messages and puts them back into the queue, where they would end the next worker
    as well.
    """

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        # Both read messages of other workers, or of anybody else, and can end on them. This worker needs neither:
        # workers coordinate by the database only. Events are sent all the same.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what is called with each message of the two queues."""
        handle = super().create_task_handler(*args, **kwargs)

        def check_and_handle(message: Any) -> None:
            try:
                checked = CheckedMessage(message)
            except MemoryError:
                # Not the message's fault. Celery ends, here and below, and the broker still has the message.
                raise
            except Exception as error:
                _log_dropped(message, error)
                if not message.acknowledged:
                    # Where RabbitMQ has a dead-letter exchange for the queue, it is kept there.
                    message.reject_log_error(log, self.connection_errors)
                return
            try:
                handle(checked)
            except Exception as error:
                if not checked.acknowledged or isinstance(error, self.connection_errors + self.channel_errors):
                    raise
                # The message was acknowledged before: only the result of an unknown task could not be stored.
                log.warning("no answer to a message", action="no_answer", error=type(error).__name__)

        return check_and_handle

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message, of the two queues or of remote control, that could not be unpacked."""
        if isinstance(exc, MemoryError):
            raise exc
        _log_dropped(message, exc)
        message.ack_log_error(log, self.connection_errors)


class SingleTryDispatcher(EventDispatcher):
    """Sends each of Celery's events to Redis once. Celery itself tries its heartbeat again without end, in the main
    process. While Redis keeps silent that process would neither obey SIGTERM nor connect again.

    An event that cannot be sent is kept until the worker has connected again, as Celery does with those of tasks.
    """

    def send(self, type: str, **options: Any) -> Any:
        """Send an event; `options` are Celery's, and the event's fields."""
        # On RabbitMQ the further try notices half open connections: without it a worker took 57 s to connect, not 22.
        once = {"retry": False} if self.connection.transport.driver_type == "redis" else {}
        return super().send(type, **{**options, **once})


def _log_dropped(message: Any, error: Exception) -> None:
    log.error(
        "a message was dropped: no task can be run from it",
        action="message_dropped",
        # Another error's text may hold all of the message.
        error=str(error) if isinstance(error, Unfit) else type(error).__name__,
        content_type=brief.repr(message.content_type),
        headers=brief.repr(message.headers),
        body=brief.repr(message.body[:LONGEST_TEXT] if isinstance(message.body, bytes | str) else message.body),
    )
