"""Notifications as HTTP requests, signed by the rules of Standard Webhooks 1.0 (standardwebhooks.com)."""

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

from worker.adapters.certificates import tls_context
from worker.adapters.clock import Clock, Deadline
from worker.adapters.http_deadline_and_size import BROKEN, BoundedConnection, dial
from worker.adapters.notify import AnswerText, KeptConnections
from worker.adapters.platform.client import wait_requested
from worker.adapters.safe_text import describe
from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, Webhook

EXCHANGE_SECONDS = 10.0
"""The time for a whole delivery: connecting, sending, and the answer."""
LIFE_SECONDS = 60.0
"""A connection is not used for longer than this, however busy it is, because the receiver's host name may by then have
another address."""
WIRE_LIMIT = 262_144
"""The most bytes that are read from the network for one answer, including headers and framing."""
BODY_LIMIT = 8192
"""At most this many bytes of an answer's body are read."""


class WebhookTransport:
    """Posts events to one URL. Connections are kept for later events; each is used by only one thread at a time.

    Redirects are not followed. Nothing is read from the environment: no proxy, no .netrc.
    """

    def __init__(
        self, target: Webhook, *, clock: Clock, hidden: Iterable[str], exchange_seconds: float = EXCHANGE_SECONDS
    ) -> None:
        """`hidden`: texts that no stored answer may contain."""
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
        # If an answer's headers are damaged, this logger logs the URL at a level below ERROR.
        logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

    def deliver(self, event_id: str, body: str, now: datetime) -> DeliveryResult:
        """Send an event once and return how the sending ended. Whatever the receiver does, no error is raised.

        `now` is the time that the request states, with its zone. It is not read from this host's clock, which may be
        wrong: receivers refuse an event whose time differs from theirs by minutes.
        """
        deadline = Deadline(self._clock, self._seconds)
        request = _Request(self._path, body.encode(), self._headers(event_id, body, now), now)
        kept = self._take_kept()
        if kept is not None:
            kept.line.begin(deadline)
            try:
                return self._exchange(kept, request)
            except _Stale:
                # The receiver closed the kept connection before it answered anything. So the event is sent again over a
                # new connection. The first attempt counts neither as a try nor as a failure.
                pass
        try:
            fresh = _Connection(self._host, self._port, self._tls, deadline, self._clock)
        except (OSError, UnicodeError) as error:
            # UnicodeError comes from the resolver, for a host name with a part of more than 63 characters between two
            # dots.
            return self._failed(DeliveryOutcome.UNREACHABLE, "no connection", error)
        return self._exchange(fresh, request)

    def close(self) -> None:
        """Close the kept connections, and keep none from now on."""
        self._kept.close()

    def _headers(self, event_id: str, body: str, now: datetime) -> Mapping[str, str]:
        # Converted here because the signer would replace the time's zone by UTC without converting the time.
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
        """The TLS context, made at its first use and then kept; None without TLS. Raises OSError."""
        return tls_context(self._ca_file) if self._is_tls else None

    def _take_kept(self) -> "_Connection | None":
        while (connection := self._kept.take()) is not None and not connection.is_alive:
            connection.close()
        return connection

    def _exchange(self, connection: "_Connection", request: "_Request") -> DeliveryResult:
        """Send the request and read the answer. Raises _Stale if a kept connection broke before the first byte of an
        answer."""
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
    """A kept connection broke before an answer came, so it was no longer usable."""


class _Request(NamedTuple):
    path: str
    body: bytes
    headers: Mapping[str, str]
    now: datetime


class _Connection(BoundedConnection):
    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline, clock: Clock) -> None:
        """Connect, with a TLS handshake if `tls` is given. Raises OSError, and UnicodeError for an invalid host
        name."""
        self._clock = clock
        self._ends = clock.boot() + LIFE_SECONDS

        def finish(sock: socket.socket) -> socket.socket:
            return sock if tls is None else tls.wrap_socket(sock, server_hostname=host.partition("%")[0])

        super().__init__(dial(host, port, deadline, finish=finish), host, port, deadline, limit=WIRE_LIMIT)
        self.was_used = False

    @property
    def is_alive(self) -> bool:
        """Whether the connection may be used again: it is not too old, and the other side has neither closed it nor
        sent anything without a request."""
        return self._clock.boot() < self._ends and self.http.is_connected

    def send(self, request: _Request) -> HTTPResponse:
        """Send a request; returns the answer once its headers are complete. Raises the errors in `BROKEN`."""
        response = self.post(request.path, request.body, request.headers)
        if self.line.has_ended:
            # http.client takes the end of a connection for the end of the headers, so the headers may be incomplete.
            response.close()
            raise ConnectionError("the connection ended within the headers")
        return response


def _read(response: HTTPResponse) -> tuple[bytes, bool]:
    """The start of a body, and whether this start is the whole body. Errors while the body is read are ignored, because
    the status of the answer has already decided how the delivery ended."""
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
