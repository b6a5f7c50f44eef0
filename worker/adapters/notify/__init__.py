"""How notifications reach a billing system: a webhook, or a task of its own Celery."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from worker.adapters.clock import Clock
from worker.domain.records.notifications import CeleryTask, DeliveryResult, Webhook


class Transport(Protocol):
    """Sends events to one endpoint; several threads may share it. Make it after the fork."""

    def deliver(self, event_id: str, body: str, now: datetime) -> DeliveryResult:
        """Send an event once, within some 10 s; returns how that ended, and raises nothing for what the other side
        does. The result shows neither secrets nor phone numbers. `now` is what the try says of its time."""

    def close(self) -> None:
        """Close its connections, and keep no more."""


def make_transport(target: Webhook | CeleryTask, *, broker_url: str, clock: Clock, hidden: Iterable[str]) -> Transport:
    """The transport to a target; connects to nothing yet.

    `broker_url`: the worker's own broker, for a task that names none. `hidden`: texts that no result may show.
    """
    # Imported here: commands that send nothing need neither library.
    if isinstance(target, Webhook):
        from worker.adapters.notify.webhook import WebhookTransport

        return WebhookTransport(target, clock=clock, hidden=hidden)
    from worker.adapters.notify.celery_task import CeleryTransport

    return CeleryTransport(target, broker_url=broker_url, clock=clock, hidden=hidden)
