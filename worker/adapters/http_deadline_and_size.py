"""HTTP connections whose reads and writes all end by a deadline, and whose answers are limited in length.

Only urllib3's single connections are used here. Its pools, and the packages that use the pools, would retry, follow
redirects, and read proxies and .netrc from the environment.
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
# Longer than a second, because the kernel sends a connection's first packet again after a second if it was lost.
_MOST_SECONDS_UNLESS_LAST = 1.5

Prepare = Callable[[socket.socket], None]
"""Sets a socket's options, before it is connected."""
Finish = Callable[[socket.socket], socket.socket]
"""Completes a new TCP connection, for example by a TLS handshake. Raises OSError if the connection cannot be
completed."""


def dial(
    host: str, port: int, deadline: Deadline, prepare: Prepare = lambda _: None, finish: Finish = lambda line: line
) -> socket.socket:
    """Try the addresses of a host, one after the other, until a connection is made and `finish` has completed it.

    All of this ends by the deadline, including the search for the addresses. The time that is left is shared equally
    among the remaining addresses, so that a dead address leaves time for the others. All addresses except the last get
    at most 1.5 seconds each. The timeout of the returned connection is the time that was left once it was connected; if
    none was left, it is the timeout of its attempt.
    Raises OSError, which includes TimeoutError; UnicodeError for an invalid name; RuntimeError if no thread can be
    started.
    """
    # getaddrinfo has no timeout: if the resolver does not answer, it waits for half a minute.
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
            # The error is kept without its traceback. The traceback contains this function's frame, whose variable
            # `last` would refer back to the error.
            last = error.with_traceback(None)
    raise last


if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Call = Callable[[], None]

_MOST_INTERIM = 100


class BoundedConnection:
    """A connection of urllib3 that uses a given socket and never connects again. The socket is already connected and,
    with TLS, has completed the handshake."""

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
        # http.client can use a `Line` as its socket, because `Line` has all the methods that http.client calls.
        self.http.sock = self.line

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], *, is_answered_early: bool = False
    ) -> HTTPResponse:
        """Send a request; returns the answer once all its headers have been read. The answer's body is not read yet.

        `is_answered_early`: whether an answer counts if it came before the whole request was sent. For a notification's
        event it does not count, because the receiver cannot have accepted an event that was not sent whole. Raises the
        errors in `BROKEN`, and those of `Line`.
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

    http.client's own timeout applies to each read separately, so an answer that comes byte by byte never exceeds it.
    Here each read may only take the time that is left for the whole exchange.
    """

    def __init__(
        self, sock: socket.socket, deadline: Deadline, *, limit: int, too_long: type[Exception], before_write: Call
    ) -> None:
        """An answer may have up to `limit` bytes, including headers and framing; `too_long` is raised for a longer
        answer.

        `before_write` is called before each write, and raises if the write is not permitted.
        """
        self._socket = sock
        self._limit = limit
        self._too_long = too_long
        self._before_write = before_write
        self.deadline = deadline
        self.received = 0
        """How many bytes of the present exchange's answer were received so far."""
        self.has_ended = False
        """Whether the other side has ended the connection and everything that it sent has been read."""

    def begin(self, deadline: Deadline) -> None:
        """Begin another exchange on this connection."""
        self.deadline = deadline
        self.received = 0

    def sendall(self, data: bytes) -> None:
        """Send bytes. Raises TimeoutError at the deadline, and any error that `before_write` raises."""
        self._before_write()
        self._socket.settimeout(self.deadline.rest())
        self._socket.sendall(data)

    def read_into(self, raw: io.RawIOBase, buffer: "WriteableBuffer") -> int | None:
        """Read the next bytes. Raises TimeoutError at the deadline, and `too_long` if the answer is longer than its
        limit.

        The limit is applied here, where http.client gets its bytes, because http.client accepts "-1" as a chunk's
        length and then reads without end.
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
        """Ignore http.client's timeout, because the deadline applies instead."""

    def fileno(self) -> int:
        """The socket's file descriptor. urllib3 uses it to test whether the other side has closed the connection."""
        return self._socket.fileno()

    def shutdown(self, how: int) -> None:
        """End the sending, the receiving or both, as `socket.shutdown` does."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class FinalResponse(http.client.HTTPResponse):
    """An answer whose `begin` skips interim answers (RFC 9110, section 15.2) such as `103 Early Hints`. http.client
    itself skips only those with status 100.

    An answer with status 101 counts as final. It answers only a request to change the protocol, and we never make such
    a request.
    """

    def begin(self) -> None:
        """Read the head of the final answer. Raises http.client.HTTPException, also for more than 100 interim
        answers."""
        for _ in range(_MOST_INTERIM):
            super().begin()
            if not 100 < self.status < 200 or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            # http.client reads the next head only if the response has no headers yet.
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
