"""Celery's events, each sent to Redis once. Celery itself tries its heartbeat again without end, in the main process.

While Redis keeps silent that process would neither obey SIGTERM nor connect again.
"""

from typing import Any

from celery.events.dispatcher import EventDispatcher


class SingleTryDispatcher(EventDispatcher):
    """Keeps an event that cannot be sent until the worker has connected again, as Celery does with those of tasks."""

    def send(self, type: str, **options: Any) -> Any:
        """Send an event; `options` are Celery's, and the event's fields."""
        # On RabbitMQ the further try notices half open connections: without it a worker took 57 s to connect, not 22.
        once = {"retry": False} if self.connection.transport.driver_type == "redis" else {}
        return super().send(type, **{**options, **once})
