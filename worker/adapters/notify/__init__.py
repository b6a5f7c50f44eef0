"""How notifications reach a billing system: by a webhook, or by a task of its own Celery.

Both keep connections, and the text of an answer.
"""

import re
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from worker.adapters.clock import Clock
from worker.adapters.safe_text import MASK, Redactor
from worker.domain.records.incoming import storable
from worker.domain.records.notifications import CeleryTask, DeliveryResult, Webhook

ANSWER_LIMIT = 500
"""Characters."""

# A receiver may echo what it was sent: the order's phone, and the signature.
_ECHOED = re.compile(r"(?<!\d)1\d{10}(?!\d)|v1,[A-Za-z0-9+/]{43}=")
IDLE_SECONDS = 30.0
"""What was unused for longer is not used again: a firewall in between may have dropped it without a word."""


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


class AnswerText:
    """Makes texts that may be stored and shown. `hidden`: what none of them may hold."""

    def __init__(self, hidden: Iterable[str]) -> None:
        self._redactor = Redactor(hidden)

    def of(self, text: str) -> str:
        """The text, masked first and then cut, so that no beginning of a secret is left at its end."""
        return storable(_ECHOED.sub(MASK, self._redactor.text(text)), ANSWER_LIMIT)

    def of_bytes(self, body: bytes) -> str:
        """The same for bytes; what is not UTF-8 becomes U+FFFD."""
        return self.of(body.decode("utf-8", "replace"))


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """Close it; raises nothing."""


T = TypeVar("T", bound=Closable)


class KeptConnections(Generic[T]):
    """Connections that wait for their next use. The latest is used first, so that few are kept where few are needed."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._kept: deque[tuple[T, float]] = deque()
        self._is_closed = False

    def take(self) -> T | None:
        """A connection that is now the caller's; None where there is none."""
        while True:
            try:
                connection, since = self._kept.pop()
            except IndexError:
                return None
            if time.monotonic() - since <= self._idle_seconds:
                return connection
            connection.close()

    def keep(self, connection: T) -> None:
        """Keep a connection that the caller uses no more."""
        self._kept.append((connection, time.monotonic()))
        if self._is_closed:
            self.close()

    def drop(self) -> None:
        """Close those that are kept; others may be kept from now on."""
        while True:
            try:
                connection, _ = self._kept.pop()
            except IndexError:
                return
            connection.close()

    def close(self) -> None:
        """Close those that are kept, and keep no more."""
        self._is_closed = True
        self.drop()
