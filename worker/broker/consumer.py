"""Celery's consumer and event dispatcher, guarded against forged messages and a silent Redis."""

from collections.abc import Mapping
from typing import Any

import structlog
from celery.events.dispatcher import EventDispatcher
from celery.worker.consumer import Consumer

from worker.broker.task_messages import LONGEST_TEXT, CheckedMessage, Unfit, brief

log = structlog.stdlib.get_logger(__name__)


class CheckedConsumer(Consumer):
    """Celery's consumer, which receives only checked messages.

    Many forged messages would end Celery. It would put them back into the queue, and they would end the next worker
    too.
    """

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        # Gossip and mingle read messages from other workers, or from anyone, and can fail on them. This worker needs
        # neither, since workers coordinate only through the database. Events are still sent.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the function that handles each message of the two queues."""
        handle = super().create_task_handler(*args, **kwargs)

        def check_and_handle(message: Any) -> None:
            try:
                checked = CheckedMessage(message)
            except MemoryError:
                # The message is not the cause. Celery ends, and the broker still has the message.
                raise
            except Exception as error:
                _log_dropped(message, error)
                if not message.acknowledged:
                    # If the queue has a dead-letter exchange on RabbitMQ, the message is kept there.
                    message.reject_log_error(log, self.connection_errors)
                return
            try:
                handle(checked)
            except Exception as error:
                if not checked.acknowledged or isinstance(error, self.connection_errors + self.channel_errors):
                    raise
                # The message is already acknowledged. Only the error result of an unknown task could not be stored.
                log.warning("no answer to a message", action="no_answer", error=type(error).__name__)

        return check_and_handle

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message that could not be unpacked, from the two queues or from remote control."""
        if isinstance(exc, MemoryError):
            raise exc
        _log_dropped(message, exc)
        message.ack_log_error(log, self.connection_errors)


class SingleTryDispatcher(EventDispatcher):
    """Sends each of Celery's events to Redis only once.

    Celery itself would retry its heartbeat event forever, in the main process. While Redis is silent, that process
    would neither obey SIGTERM nor connect again.

    An event that cannot be sent is kept until the worker has connected again, as Celery does with events of tasks.
    """

    def send(self, type: str, **options: Any) -> Any:
        """Send an event; `options` are Celery's options and the event's fields."""
        # On RabbitMQ the retry notices half-open connections: without it a worker took 57 s instead of 22 s to connect
        # again.
        once = {"retry": False} if self.connection.transport.driver_type == "redis" else {}
        return super().send(type, **{**options, **once})


def _log_dropped(message: Any, error: Exception) -> None:
    log.error(
        "a message was dropped: no task can be run from it",
        action="message_dropped",
        # The text of any other error may quote the whole message.
        error=str(error) if isinstance(error, Unfit) else type(error).__name__,
        content_type=brief.repr(message.content_type),
        headers=brief.repr(message.headers),
        body=brief.repr(message.body[:LONGEST_TEXT] if isinstance(message.body, bytes | str) else message.body),
    )
