"""One exchange: one connection, one request, one answer of bounded length, and a thread that ends the exchange at its
deadline.

A socket's timeout applies to each read separately, so an answer that comes byte by byte never exceeds it. Here each
exchange has its own thread that watches the boot clock, which also counts the time in suspend. At the deadline this
thread shuts the connection down, whatever the thread that reads the answer is doing.
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

from worker.adapters.certificates import tls_context
from worker.adapters.clock import Clock, Deadline
from worker.adapters.http_deadline_and_size import BoundedConnection, dial
from worker.domain.queries.slots_and_clocks import is_too_late_to_send
from worker.domain.records.incoming import DeadlineExceeded, Malformed, NotSent
from worker.domain.wire.query_request import WireRequest
from worker.domain.wire.replies import BODY_LIMIT

WIRE_LIMIT = 2 * BODY_LIMIT
"""The most bytes that are read from the network for one answer, including headers and framing."""
ERROR_BODY_LIMIT = 8192
"""If an answer's status is not 200, at most this many bytes of its body are read; enough for an excerpt."""
_CHUNK = 65536
# The watching thread waits in pieces of at most this many seconds. During a suspend a thread's wait stops, while the
# boot clock moves on. So one long wait would end after the deadline.
_LONGEST_WAIT = 0.25
_SHORTEST_WAIT = 0.001


@dataclass(kw_only=True, slots=True)
class Received:
    """The part of the answer that has been received so far. It stays available if the exchange breaks."""

    status: int | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    retry_after: str | None = None
    body: bytearray = field(default_factory=bytearray)
    """The body as received, perhaps compressed."""


class Exchange:
    """One query's exchange, as a context manager. The watching thread lives exactly as long as the context.

    `started` is the boot clock's reading at the first step of the query's grant. `deadline` is the time that the grant
    and the whole exchange may take from `started` on; `connect_timeout` is the time for making a connection. Both are
    in seconds.
    """

    def __init__(self, *, clock: Clock, started: float, deadline: float, connect_timeout: float) -> None:
        self._clock = clock
        self._started = started
        self._deadline = deadline
        self._ends = started + deadline
        self.whole = Deadline(clock, self._ends - clock.boot())
        """When the whole exchange must have ended."""
        # The time for connecting also ends when a third of the deadline is left. A connection that is made later could
        # not be used; see `is_too_late_to_send`.
        self.connecting = Deadline(clock, min(connect_timeout, self._ends - deadline / 3 - clock.boot()))
        """When the connection must have been made."""
        self._done = threading.Event()
        self._guard = threading.Lock()
        self._line: socket.socket | None = None
        self._cut = False
        self._watcher = threading.Thread(target=self._watch, name="exchange-deadline", daemon=True)
        self.sent = False
        """Whether the first byte of the request was handed to the network, or may have been handed to it."""

    def __enter__(self) -> Self:
        try:
            self._watcher.start()
        except RuntimeError:
            # The watching thread could not be started, and an exchange must not begin without it.
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
            # The watcher's handle is the last handle of the connection. Because of SO_LINGER, closing it resets the
            # connection.
            self._line.close()

    @property
    def rest(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._ends - self._clock.boot()

    @property
    def over(self) -> bool:
        """Whether the deadline has passed, or the watching thread has already shut the connection down."""
        return self._cut or self.rest <= 0

    def check_may_begin(self) -> None:
        """Raise NotSent if less than a third of the deadline is left."""
        boot = self._clock.boot()
        if is_too_late_to_send(started=self._started, boot=boot, deadline_seconds=self._deadline):
            rest = max(self._ends - boot, 0)
            raise NotSent(f"{rest:.3f} s were left before the deadline, less than the third that a query needs")

    def before_write(self) -> None:
        """Check that there is time for a write; call this before each write. If there is no time, raises NotSent before
        the first write, and DeadlineExceeded before a later write."""
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
        # After a normal close the kernel would still deliver the data that it has buffered. So the platform could
        # receive the query after the deadline, although the slot's wait counts from the deadline. With SO_LINGER set to
        # (1, 0), a close or the end of the process discards the data and resets the connection.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _give_up_after(line, self.rest)

    def watch(self, line: socket.socket) -> None:
        """Watch a connected socket; call this before TLS takes the socket over. Raises NotSent after the deadline."""
        with self._guard:
            # The watcher gets its own handle of the connection. The reader may close the reader's handle at any time.
            # At the deadline the number of that handle may already belong to another file.
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
                # This fails if the platform has closed the connection already.
                with suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)


def exchange_once(request: WireRequest, exchange: Exchange, received: Received, *, ca_file: str | None = None) -> None:
    """Send the request and read the answer into `received`. `ca_file` is as in `tls_context`.

    Raises NotSent, DeadlineExceeded or Malformed if this module itself finds the failure, and otherwise one of the
    errors in `bounded_http.BROKEN`.
    """
    headers = {
        "User-Agent": "recharge-reconciler",
        **request.headers,
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    # No session is used. A session would read proxies and .netrc from the environment, follow redirects, and ignore our
    # deadline when it connects.
    prepared = requests.Request("POST", request.url, headers=headers, data=request.body).prepare()
    with (
        closing(connect(urlsplit(request.url), exchange, ca_file)) as connection,
        closing(connection.post(prepared.path_url, request.body, prepared.headers, is_answered_early=True)) as response,
    ):
        _read(response, received)


def connect(url: SplitResult, exchange: Exchange, ca_file: str | None) -> BoundedConnection:
    """Make a connection to the platform within the exchange's time. The exchange watches this connection, and its
    `before_write` is called before each write.

    Raises the same errors as `exchange_once`.
    """
    # The dot at the end of a fully qualified name is removed, because certificates contain host names without it.
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
            # Only the certificate's alternative names count as names of the host. The name in the certificate's subject
            # does not.
            tls.hostname_checks_common_name = False
            tls.set_alpn_protocols(["http/1.1"])
            # The scope (`%eth0`) of an IPv6 address is removed, because an address in a certificate has none.
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
        # The body is not decompressed here. This is done by `client.decoded`, which limits the length of the result and
        # notices a body that was cut short.
        chunk = response.read(min(_CHUNK, limit + 1 - len(received.body)), decode_content=False)
        if not chunk:
            return
        received.body += chunk
    if response.status == 200:
        raise Malformed(f"the answer's body is longer than {BODY_LIMIT} bytes")


def _give_up_after(line: socket.socket, seconds: float) -> None:
    # Set how long the kernel continues to send data that the other side does not acknowledge, in ms. This limit applies
    # even if this process is stopped or killed. The option exists on Linux only; elsewhere the kernel sends until the
    # connection is closed.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(seconds * 1000)))
