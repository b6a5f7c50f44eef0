"""Transports of notifications to a billing system: a webhook, or a task of the billing system's own Celery.

Both transports keep connections open for later events. They return the start of an answer's text for storage.
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
"""At most this many characters of an answer's text are kept."""

# The texts to mask in an answer: phone numbers and signatures. A receiver may echo the order's phone number and the
# request's signature.
_ECHOED = re.compile(r"(?<!\d)1\d{10}(?!\d)|v1,[A-Za-z0-9+/]{43}=")
IDLE_SECONDS = 30.0
"""A connection that was unused for longer than this is not used again, because a firewall may have dropped it
silently."""


class Transport(Protocol):
    """Sends events to one endpoint. Several threads may share one transport. Create the transport after the fork."""

    def deliver(self, event_id: str, body: str, now: datetime) -> DeliveryResult:
        """Send an event once, within about 10 s, and return how the sending ended. Whatever the receiver does, no error
        is raised.

        The result shows neither secrets nor phone numbers. `now` is the time of sending, which a webhook's request
        states.
        """

    def close(self) -> None:
        """Close the kept connections, and keep none from now on."""


def make_transport(target: Webhook | CeleryTask, *, broker_url: str, clock: Clock, hidden: Iterable[str]) -> Transport:
    """Make the transport to a target, without connecting yet.

    `broker_url`: the worker's own broker, which is used for a task that names no broker. `hidden`: texts that no result
    of a delivery may show.
    """
    # The transports are imported here because a command that sends no events should not import their libraries.
    if isinstance(target, Webhook):
        from worker.adapters.notify.webhook import WebhookTransport

        return WebhookTransport(target, clock=clock, hidden=hidden)
    from worker.adapters.notify.celery_task import CeleryTransport

    return CeleryTransport(target, broker_url=broker_url, clock=clock, hidden=hidden)


class AnswerText:
    """Makes texts of answers safe to store and show. `hidden`: secrets that are masked in every text."""

    def __init__(self, hidden: Iterable[str]) -> None:
        self._redactor = Redactor(hidden)

    def of(self, text: str) -> str:
        """The text, safe to store and cut to `ANSWER_LIMIT`. Secrets are masked before the text is cut, so that it
        cannot end with the start of a secret."""
        return storable(_ECHOED.sub(MASK, self._redactor.text(text)), ANSWER_LIMIT)

    def of_bytes(self, body: bytes) -> str:
        """The text of bytes, as `of` returns it. Bytes that are not UTF-8 become U+FFFD."""
        return self.of(body.decode("utf-8", "replace"))


class Closable(Protocol):
    """A connection that can be closed."""

    def close(self) -> None:
        """Close the connection. Never raises."""


T = TypeVar("T", bound=Closable)


class KeptConnections(Generic[T]):
    """Connections that wait for their next use. The connection that was returned last is used first. So the others can
    grow old and be closed if only a few connections are needed."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._kept: deque[tuple[T, float]] = deque()
        self._is_closed = False

    def take(self) -> T | None:
        """Return a kept connection, which from now on belongs to the caller; None if no usable connection is kept."""
        while True:
            try:
                connection, since = self._kept.pop()
            except IndexError:
                return None
            if time.monotonic() - since <= self._idle_seconds:
                return connection
            connection.close()

    def keep(self, connection: T) -> None:
        """Keep a connection for later use. The caller no longer uses it."""
        self._kept.append((connection, time.monotonic()))
        if self._is_closed:
            self.close()

    def drop(self) -> None:
        """Close the kept connections. Other connections can be kept later."""
        while True:
            try:
                connection, _ = self._kept.pop()
            except IndexError:
                return
            connection.close()

    def close(self) -> None:
        """Close the kept connections, and keep none from now on."""
        self._is_closed = True
        self.drop()
