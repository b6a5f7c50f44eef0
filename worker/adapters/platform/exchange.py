"""One exchange: one connection, one request, one answer that is bounded, and a thread that ends it at the deadline.

A socket's timeouts are per read, so an answer that comes byte by byte never meets them. Here a thread of the
exchange's own watches the boot clock, which counts suspend, and shuts the connection down at the deadline, whatever
the reader is doing.
"""

import socket
import struct
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

import requests
from urllib3.response import HTTPResponse

from worker.adapters.bounded_http import BoundedConnection, dial
from worker.adapters.certificates import tls_context
from worker.adapters.clock import Clock, Deadline
from worker.domain.queries.slots_and_clocks import is_too_late_to_send
from worker.domain.records.incoming import DeadlineExceeded, Malformed, NotSent
from worker.domain.wire.answers import BODY_LIMIT
from worker.domain.wire.query_request import WireRequest

WIRE_LIMIT = 2 * BODY_LIMIT
"""Bytes that are taken from the network for one answer, headers and framing included."""
ERROR_BODY_LIMIT = 8192
"""Bytes that are read of the body of an answer other than 200: enough for an excerpt."""
_CHUNK = 65536
# After a suspend a thread's wait resumes where it stood, while the boot clock has moved on: so the wait is cut into
# pieces.
_LONGEST_WAIT = 0.25
_SHORTEST_WAIT = 0.001


@dataclass(kw_only=True, slots=True)
class Received:
    """What has been received of the answer so far, also where the exchange breaks."""

    status: int | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    retry_after: str | None = None
    body: bytearray = field(default_factory=bytearray)
    """As it came: still compressed, where it is."""


class Exchange:
    """One query's exchange, as a context: the watching thread lives as long as the context, and no longer.

    `started` is the boot clock's reading at the grant's first step, `deadline` the seconds that the whole exchange
    may take from there, `connect_timeout` the seconds for making a connection.
    """

    def __init__(self, *, clock: Clock, started: float, deadline: float, connect_timeout: float) -> None:
        self._clock = clock
        self._started = started
        self._deadline = deadline
        self._ends = started + deadline
        self.whole = Deadline(clock, self._ends - clock.boot())
        """When all of it must have ended."""
        # A connection that comes later than this could not be used: see `is_too_late_to_send`.
        self.connecting = Deadline(clock, min(connect_timeout, self._ends - deadline / 3 - clock.boot()))
        """When a connection must have been made."""
        self._done = threading.Event()
        self._guard = threading.Lock()
        self._line: socket.socket | None = None
        self._cut = False
        self._watcher = threading.Thread(target=self._watch, name="exchange-deadline", daemon=True)
        self.sent = False
        """Whether the first byte of the request was handed to the network, or may have been."""

    def __enter__(self) -> Self:
        try:
            self._watcher.start()
        except RuntimeError:
            # Out of threads: an exchange may not begin without a watcher.
            no_watch = NotSent("no thread could be started to watch the deadline")
        else:
            return self
        raise no_watch

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join()
        if self._line is not None:
            # The last handle on the connection: by SO_LINGER this is the reset.
            self._line.close()

    @property
    def rest(self) -> float:
        """Seconds until the deadline; negative past it."""
        return self._ends - self._clock.boot()

    @property
    def over(self) -> bool:
        """Whether the exchange was cut, or should have been by now."""
        return self._cut or self.rest <= 0

    def check_may_begin(self) -> None:
        """Raise NotSent where less than a third of the deadline is left."""
        boot = self._clock.boot()
        if is_too_late_to_send(started=self._started, boot=boot, deadline_seconds=self._deadline):
            rest = max(self._ends - boot, 0)
            raise NotSent(f"{rest:.3f} s were left before the deadline, less than the third that a query needs")

    def before_write(self) -> None:
        """To be called before each write. Raises NotSent before the first one, DeadlineExceeded before a later one."""
        if self.sent:
            if self.over:
                raise DeadlineExceeded("the deadline passed while the request was being sent")
            return
        if self._line is not None:
            _give_up_after(self._line, self.rest)
        self.check_may_begin()
        self.sent = True

    def prepare(self, line: socket.socket) -> None:
        """Set a socket's options, before it is connected."""
        # A plain close lets the kernel deliver what it still holds, after the slot's wait has been counted from the
        # deadline. With SO_LINGER 1, 0 a close, and the end of the process, discards it and resets the connection.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _give_up_after(line, self.rest)

    def watch(self, line: socket.socket) -> None:
        """Take a connected socket under watch, before TLS takes it over. Raises NotSent past the deadline."""
        with self._guard:
            # A handle of our own: the reader may close its handle at any time, and that number may be another file's
            # when the connection is cut.
            self._line = line.dup()
        if self.over:
            raise NotSent("the deadline passed while the connection was being made")

    def _watch(self) -> None:
        while not self._done.wait(min(max(self.rest, _SHORTEST_WAIT), _LONGEST_WAIT)):
            if self.rest <= 0:
                self._cut_now()
                return

    def _cut_now(self) -> None:
        with self._guard:
            self._cut = True
            if self._line is not None:
                # The platform may have closed the connection already.
                with suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)


def exchange_once(request: WireRequest, exchange: Exchange, received: Received, *, ca_file: str | None = None) -> None:
    """Send the request and read the answer into `received`. `ca_file`: as in `tls_context`.

    Raises NotSent, DeadlineExceeded or Malformed where it is known which it is, and otherwise the errors of
    `bounded_http.BROKEN`.
    """
    headers = {
        "User-Agent": "recharge-reconciler",
        **request.headers,
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    # Without a session, which reads proxies and .netrc from the environment, follows redirects, and connects where no
    # deadline reaches.
    prepared = requests.Request("POST", request.url, headers=headers, data=request.body).prepare()
    with (
        closing(connect(urlsplit(request.url), exchange, ca_file)) as connection,
        closing(connection.post(prepared.path_url, request.body, prepared.headers, is_answered_early=True)) as response,
    ):
        _read(response, received)


def connect(url: SplitResult, exchange: Exchange, ca_file: str | None) -> BoundedConnection:
    """A connection that was made within the exchange's time and is watched by it; each write needs its permission.

    Raises as `exchange_once` does.
    """
    # A certificate names its host without the dot that ends a name in full.
    host, is_tls = (url.hostname or "").rstrip("."), url.scheme == "https"
    port = url.port or (443 if is_tls else 80)
    tls = tls_context(ca_file) if is_tls else None
    try:
        line = dial(host, port, exchange.connecting, exchange.prepare)
    except RuntimeError:
        raise NotSent("no thread could be started to find the platform's address") from None
    try:
        exchange.watch(line)
        if tls is not None:
            # Its subject is no name of a host: only what the certificate names as such counts.
            tls.hostname_checks_common_name = False
            tls.set_alpn_protocols(["http/1.1"])
            # An IPv6 address as it stands in the certificate: without its scope.
            line = tls.wrap_socket(line, server_hostname=host.partition("%")[0])
        return BoundedConnection(
            line,
            host,
            port,
            exchange.whole,
            limit=WIRE_LIMIT,
            too_long=Malformed,
            before_write=exchange.before_write,
        )
    except BaseException:
        line.close()
        raise


def _read(response: HTTPResponse, received: Received) -> None:
    received.status = response.status
    received.content_type = response.headers.get("Content-Type")
    received.content_encoding = response.headers.get("Content-Encoding")
    received.retry_after = response.headers.get("Retry-After")
    limit = BODY_LIMIT if response.status == 200 else ERROR_BODY_LIMIT
    while len(received.body) <= limit:
        # Not decoded here: `client.decoded` is bounded, and notices a stream that was cut short.
        chunk = response.read(min(_CHUNK, limit + 1 - len(received.body)), decode_content=False)
        if not chunk:
            return
        received.body += chunk
    if response.status == 200:
        raise Malformed(f"the answer's body is longer than {BODY_LIMIT} bytes")


def _give_up_after(line: socket.socket, seconds: float) -> None:
    # How long the kernel goes on sending without an acknowledgement, in ms: also when this process is stopped or
    # killed. Linux only; elsewhere the close alone ends it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(seconds * 1000)))
