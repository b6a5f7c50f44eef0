"""Notifications as HTTP requests, signed as Standard Webhooks 1.0 says (standardwebhooks.com)."""

import logging
import math
import socket
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlsplit

from standardwebhooks import Webhook as Signer
from urllib3.response import HTTPResponse

from worker.adapters.bounded_http import BROKEN, BoundedConnection, dial
from worker.adapters.certificates import tls_context
from worker.adapters.clock import Clock, Deadline
from worker.adapters.notify import AnswerText, KeptConnections
from worker.adapters.platform.client import wait_requested
from worker.adapters.safe_text import describe
from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, Webhook

EXCHANGE_SECONDS = 10.0
"""For all of it: connecting, sending, and the answer."""
LIFE_SECONDS = 60.0
"""A connection is not used for longer, however busy it is: the receiver's name may have moved to another address."""
WIRE_LIMIT = 262_144
"""Bytes that are taken from the network for one answer, headers and framing included."""
BODY_LIMIT = 8192
"""Bytes that are read of an answer's body."""


class WebhookTransport:
    """Posts events to one URL. Connections are kept; one is used by one thread at a time.

    No redirect is followed, and nothing is read from the environment: no proxy, no .netrc.
    """

    def __init__(
        self, target: Webhook, *, clock: Clock, hidden: Iterable[str], exchange_seconds: float = EXCHANGE_SECONDS
    ) -> None:
        """`hidden`: texts that no answer may show when it is kept."""
        parts = urlsplit(target.url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._ca_file = target.ca_file
        self._signers = tuple(Signer(secret) for secret in target.secrets)
        self._clock = clock
        self._answer = AnswerText(hidden)
        self._seconds = exchange_seconds
        self._kept: KeptConnections[_Connection] = KeptConnections()
        # It logs the URL of an answer whose headers are damaged.
        logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

    def deliver(self, event_id: str, body: str, now: datetime) -> DeliveryResult:
        """Send an event once; returns how that ended, and raises nothing for what the other side does.

        `now` is aware, and not read here: receivers refuse an event whose time is minutes away from theirs.
        """
        deadline = Deadline(self._clock, self._seconds)
        request = _Request(self._path, body.encode(), self._headers(event_id, body, now), now)
        kept = self._take_kept()
        if kept is not None:
            kept.line.begin(deadline)
            try:
                return self._exchange(kept, request)
            except _Stale:
                # The receiver closed it before it read anything: that counts neither as a try nor as a failure.
                pass
        try:
            fresh = _Connection(self._host, self._port, self._tls, deadline, self._clock)
        except (OSError, UnicodeError) as error:
            # The resolver takes no name with a label of more than 63 characters.
            return self._failed(DeliveryOutcome.UNREACHABLE, "no connection", error)
        return self._exchange(fresh, request)

    def close(self) -> None:
        """Close the connections that are kept, and keep no more."""
        self._kept.close()

    def _headers(self, event_id: str, body: str, now: datetime) -> Mapping[str, str]:
        # The signer replaces the zone of a time by UTC.
        now = now.astimezone(UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "recharge-reconciler",
            "Accept-Encoding": "identity",
            "webhook-id": event_id,
            "webhook-timestamp": str(math.floor(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(event_id, now, body) for signer in self._signers),
        }

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        """Made once. Raises OSError."""
        return tls_context(self._ca_file) if self._is_tls else None

    def _take_kept(self) -> "_Connection | None":
        while (connection := self._kept.take()) is not None and not connection.is_alive:
            connection.close()
        return connection

    def _exchange(self, connection: "_Connection", request: "_Request") -> DeliveryResult:
        """Raises _Stale where the connection was a kept one, and broke before the first byte of an answer."""
        try:
            response = connection.send(request)
        except TimeoutError as error:
            connection.close()
            return self._failed(DeliveryOutcome.TIMEOUT, "no complete answer in time", error)
        except BROKEN as error:
            connection.close()
            if connection.was_used and not connection.line.received:
                raise _Stale from None
            return self._failed(DeliveryOutcome.MALFORMED, "the connection broke, or the answer is not HTTP", error)
        body, is_whole = _read(response)
        if is_whole and connection.is_alive:
            connection.was_used = True
            self._kept.keep(connection)
        else:
            connection.close()
        return DeliveryResult(
            outcome=DeliveryOutcome.ACCEPTED if 200 <= response.status < 300 else DeliveryOutcome.HTTP_ERROR,
            http_status=response.status,
            answer=self._answer.of_bytes(body),
            retry_after=wait_requested(response.headers.get("Retry-After"), request.now),
        )

    def _failed(self, outcome: DeliveryOutcome, what: str, error: BaseException) -> DeliveryResult:
        return DeliveryResult(outcome=outcome, answer=self._answer.of(f"{what}: {describe(error)}"))


class _Stale(Exception):
    """A kept connection was of no use."""


class _Request(NamedTuple):
    path: str
    body: bytes
    headers: Mapping[str, str]
    now: datetime


class _Connection(BoundedConnection):
    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline, clock: Clock) -> None:
        """Connect, and shake hands where TLS is wanted. Raises OSError, and UnicodeError for a name that cannot be
        one."""
        self._clock = clock
        self._ends = clock.boot() + LIFE_SECONDS

        def finish(sock: socket.socket) -> socket.socket:
            return sock if tls is None else tls.wrap_socket(sock, server_hostname=host.partition("%")[0])

        super().__init__(dial(host, port, deadline, finish=finish), host, port, deadline, limit=WIRE_LIMIT)
        self.was_used = False

    @property
    def is_alive(self) -> bool:
        """Whether it may be used again: it is not too old, and the other side has neither closed it nor sent anything
        without being asked."""
        return self._clock.boot() < self._ends and self.http.is_connected

    def send(self, request: _Request) -> HTTPResponse:
        """Send a request; returns the answer when its headers are complete. Raises the errors of `BROKEN`."""
        response = self.post(request.path, request.body, request.headers)
        if self.line.has_ended:
            # http.client takes the end of a connection for the end of the headers.
            response.close()
            raise ConnectionError("the connection ended within the headers")
        return response


def _read(response: HTTPResponse) -> tuple[bytes, bool]:
    """The start of a body, and whether that is all of it. However it goes on: the headers have decided."""
    body = b""
    try:
        while len(body) <= BODY_LIMIT:
            chunk = response.read1(BODY_LIMIT + 1 - len(body), decode_content=False)
            if not chunk:
                return body, True
            body += chunk
    except BROKEN:
        pass
    return body[:BODY_LIMIT], False
