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

    Many kinds of forged messages would end Celery's own consumer, and the worker with it. The message would return to
    the queue, and end the next worker too.
    """

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        # Gossip and mingle read messages that other workers, or anyone, sent, and can fail on such a message. This
        # worker needs neither of them, since workers coordinate only through the database. It still sends events.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the function that handles each message of the two queues."""
        handle = super().create_task_handler(*args, **kwargs)

        def check_and_handle(message: Any) -> None:
            try:
                checked = CheckedMessage(message)
            except MemoryError:
                # The message is not the cause, so do not drop it. Celery ends, and the broker still has the message.
                raise
            except Exception as error:
                _log_dropped(message, error)
                if not message.acknowledged:
                    # Reject instead of acknowledge: RabbitMQ then keeps the message if the queue has a dead-letter
                    # exchange.
                    message.reject_log_error(log, self.connection_errors)
                return
            try:
                handle(checked)
            except Exception as error:
                if not checked.acknowledged or isinstance(error, self.connection_errors + self.channel_errors):
                    raise
                # The message is already acknowledged, and names an unknown task. The error is only that the task's
                # result, itself an error, could not be stored. So the worker need not end.
                log.warning("no answer to a message", action="no_answer", error=type(error).__name__)

        return check_and_handle

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message that could not be unpacked. It came from one of the two queues or from remote control."""
        if isinstance(exc, MemoryError):
            raise exc
        _log_dropped(message, exc)
        message.ack_log_error(log, self.connection_errors)


class SingleTryDispatcher(EventDispatcher):
    """Sends each of Celery's events to Redis only once.

    Celery itself would retry its heartbeat event forever, in the main process. While Redis is silent, the main process
    would neither obey SIGTERM nor connect again.

    An event that cannot be sent is kept until the worker has connected again. Celery does the same with task events.
    """

    def send(self, type: str, **options: Any) -> Any:
        """Send an event; `options` are Celery's options and the event's fields."""
        # Keep the retry on RabbitMQ, because it notices half-open connections: without the retry a worker took 57 s
        # instead of 22 s to connect again.
        once = {"retry": False} if self.connection.transport.driver_type == "redis" else {}
        return super().send(type, **{**options, **once})


def _log_dropped(message: Any, error: Exception) -> None:
    log.error(
        "a message was dropped: no task can be run from it",
        action="message_dropped",
        # Log only the class of an error that is not Unfit: its text may quote the whole message.
        error=str(error) if isinstance(error, Unfit) else type(error).__name__,
        content_type=brief.repr(message.content_type),
        headers=brief.repr(message.headers),
        body=brief.repr(message.body[:LONGEST_TEXT] if isinstance(message.body, bytes | str) else message.body),
    )
