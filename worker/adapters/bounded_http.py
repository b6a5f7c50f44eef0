"""HTTP connections whose reads and writes all end by a deadline, and whose answers are limited in length.

urllib3's pools, and the packages above them, retry, follow redirects and read proxies and .netrc from the environment.
A single connection does none of this.
"""

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from worker.adapters.clock import Deadline

BROKEN = (OSError, http.client.HTTPException, HTTPError, ValueError)
"""The errors that are raised if a connection breaks, or if the received data is not HTTP. Any other error is a bug of
ours."""
# A first packet that is lost is sent again after a second.
_MOST_SECONDS_UNLESS_LAST = 1.5

Prepare = Callable[[socket.socket], None]
"""Sets a socket's options, before it is connected."""
Finish = Callable[[socket.socket], socket.socket]
"""Completes a connection after TCP, for example by a handshake. Raises OSError if the address is of no use."""


def dial(
    host: str, port: int, deadline: Deadline, prepare: Prepare = lambda _: None, finish: Finish = lambda line: line
) -> socket.socket:
    """Connect to the addresses of a host, one after the other, until a connection is made and finished.

    All of this ends by the deadline, including the search for the addresses. Each address gets its share of the time
    that is left, and at most 1.5 seconds unless it is the last one, so that a dead address leaves time for the others.
    The connection's timeout is the time that was left when it was made; if none was left, that of its attempt.
    Raises OSError, which includes TimeoutError; UnicodeError for an invalid name; RuntimeError if no thread can be
    started.
    """
    # getaddrinfo waits for an absent resolver for half a minute, whatever the deadline.
    found = deadline.bound(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    last = OSError("the name has no address")
    for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        try:
            with ExitStack() as unless_finished:
                line = unless_finished.enter_context(socket.socket(family, kind, protocol))
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                prepare(line)
                share = deadline.rest() / left
                line.settimeout(share if left == 1 else min(share, _MOST_SECONDS_UNLESS_LAST))
                line.connect(address)
                # If no time is left, the caller finds out before it sends anything: this is a connection all the same.
                with suppress(TimeoutError):
                    line.settimeout(deadline.rest())
                finished = finish(line)
                unless_finished.pop_all()
                return finished
        except OSError as error:
            # The error is kept without its frame, which would form a reference cycle with it.
            last = error.with_traceback(None)
    raise last


if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Call = Callable[[], None]

_MOST_INTERIM = 100


class BoundedConnection:
    """urllib3's connection over a socket that is already connected and, with TLS, has completed the handshake. Never
    connects again."""

    def __init__(
        self,
        sock: socket.socket,
        host: str,
        port: int,
        deadline: Deadline,
        *,
        limit: int,
        too_long: type[Exception] = ValueError,
        before_write: Call = lambda: None,
    ) -> None:
        """The arguments after `deadline` are those of `Line`."""
        self.line = Line(sock, deadline, limit=limit, too_long=too_long, before_write=before_write)
        self.http = (HTTPSConnection if isinstance(sock, ssl.SSLSocket) else HTTPConnection)(host, port)
        # If a connection is lost, http.client would connect again for the next request, without a deadline.
        self.http.auto_open = 0
        self.http.response_class = FinalResponse
        # `Line` has all methods of a socket that http.client uses.
        self.http.sock = self.line

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], *, is_answered_early: bool = False
    ) -> HTTPResponse:
        """Send a request; returns the answer once its headers are complete. The answer's body is neither read nor
        decoded.

        `is_answered_early`: whether an answer counts if it came before the whole request was sent. For an event it does
        not count, because an event that was not sent whole was not accepted. Raises the errors in `BROKEN`, and the
        errors of the line.
        """
        early = (BrokenPipeError, ConnectionResetError) if is_answered_early else ()
        with suppress(*early):
            self.http.request("POST", path, body, headers, preload_content=False, decode_content=False)
        return self.http.getresponse()

    def close(self) -> None:
        """Close the connection."""
        self.http.close()
        self.line.close()


class Line:
    """A connected socket, with or without TLS, for use by http.client.

    http.client's own timeout is per read, so an answer that comes byte by byte never exceeds it. Here each read may
    take only the time that is left for the exchange.
    """

    def __init__(
        self, sock: socket.socket, deadline: Deadline, *, limit: int, too_long: type[Exception], before_write: Call
    ) -> None:
        """An answer may have `limit` bytes, including headers and framing; for a longer one `too_long` is raised.

        `before_write` is called before each write, and raises if the write is not permitted.
        """
        self._socket = sock
        self._limit = limit
        self._too_long = too_long
        self._before_write = before_write
        self.deadline = deadline
        self.received = 0
        """How many bytes of the answer were received."""
        self.has_ended = False
        """Whether the other side has ended the connection, and all that it sent has been read."""

    def begin(self, deadline: Deadline) -> None:
        """Begin another exchange on this connection."""
        self.deadline = deadline
        self.received = 0

    def sendall(self, data: bytes) -> None:
        """Send bytes. Raises TimeoutError at the deadline, and the errors of `before_write`."""
        self._before_write()
        self._socket.settimeout(self.deadline.rest())
        self._socket.sendall(data)

    def read_into(self, raw: io.RawIOBase, buffer: "WriteableBuffer") -> int | None:
        """Read the next bytes. Raises TimeoutError at the deadline, and `too_long` if the answer is longer than its
        limit.

        The limit is applied below http.client, because http.client accepts "-1" as a chunk's length and then reads
        without end.
        """
        self._socket.settimeout(self.deadline.rest())
        count = raw.readinto(buffer)
        self.received += count or 0
        self.has_ended = count == 0
        if self.received > self._limit:
            raise self._too_long(f"the answer is longer than {self._limit} bytes")
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The stream from which http.client reads an answer."""
        return io.BufferedReader(_Reader(self, self._socket.makefile("rb", buffering=0)))

    def settimeout(self, _seconds: float | None) -> None:
        """Do nothing, because the deadline applies instead."""

    def fileno(self) -> int:
        """The socket's number, by which the pool of kept connections sees that the other side has closed a
        connection."""
        return self._socket.fileno()

    def shutdown(self, how: int) -> None:
        """End one or both directions."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class FinalResponse(http.client.HTTPResponse):
    """An answer that skips interim answers (RFC 9110, section 15.2) such as `103 Early Hints`; http.client skips only
    100.

    101 is final: it answers only a request to change the protocol, which we never make.
    """

    def begin(self) -> None:
        """Read the head of the final answer. Raises http.client.HTTPException, also for more than 100 interim
        answers."""
        for _ in range(_MOST_INTERIM):
            super().begin()
            if not 100 < self.status < 200 or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            # http.client reads a head only if it has none yet.
            self.headers = self.msg = None  # type: ignore[assignment]  # typeshed: never None, although it begins so
        raise http.client.HTTPException("interim answers without end")


class _Reader(io.RawIOBase):
    def __init__(self, line: Line, raw: io.RawIOBase) -> None:
        self._line = line
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        return self._line.read_into(self._raw, buffer)

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()
