"""An HTTP connection on which every read and write ends by a deadline, and no answer is longer than its bound.

urllib3's pools, and the packages above them, retry, follow redirects and read proxies and .netrc from the environment.
A connection alone does none of this.
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
"""What is raised where a connection breaks, or what comes over it is not HTTP. Any other error is a mistake of ours."""
# A first packet that is lost is sent again after a second.
_MOST_SECONDS_UNLESS_LAST = 1.5

Prepare = Callable[[socket.socket], None]
"""Sets a socket's options, before it is connected."""
Finish = Callable[[socket.socket], socket.socket]
"""What a connection needs besides TCP, such as a handshake. Raises OSError where the address is of no use."""


def dial(
    host: str, port: int, deadline: Deadline, prepare: Prepare = lambda _: None, finish: Finish = lambda line: line
) -> socket.socket:
    """Connect to one address of a host after the other, until one connection is made and finished.

    It ends by the deadline, the search for the addresses included. Each address gets its share of what is left, and at
    most 1.5 seconds unless it is the last one, so that a dead one leaves time for the others. The connection's timeout is
    what was left when it was made.
    Raises OSError, which includes TimeoutError; UnicodeError for a name that cannot be one; RuntimeError where no
    thread can be started.
    """
    # A resolver that is away is waited for by it for half a minute, whatever the deadline.
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
                line.settimeout(deadline.rest())
                finished = finish(line)
                unless_finished.pop_all()
                return finished
        except OSError as error:
            # Without its frame, which would make a reference cycle with the error.
            last = error.with_traceback(None)
    raise last


if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Call = Callable[[], None]

_MOST_INTERIM = 100


class BoundedConnection:
    """urllib3's connection over a socket that is connected, and with TLS has shaken hands. Never connects again."""

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
        # http.client would connect again by itself, without a deadline, for a request whose connection is gone.
        self.http.auto_open = 0
        self.http.response_class = FinalResponse
        # It has all of a socket that http.client uses.
        self.http.sock = self.line

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], *, is_answered_early: bool = False
    ) -> HTTPResponse:
        """Send a request; returns the answer when its headers are complete, its body neither read nor decoded.

        `is_answered_early`: whether an answer counts that came before the whole request was sent. Of an event it does
        not: what was not sent was not accepted. Raises the errors of `BROKEN`, and what the line raises.
        """
        early = (BrokenPipeError, ConnectionResetError) if is_answered_early else ()
        with suppress(*early):
            self.http.request("POST", path, body, headers, preload_content=False, decode_content=False)
        return self.http.getresponse()

    def close(self) -> None:
        """Close it."""
        self.http.close()
        self.line.close()


class Line:
    """A connected socket, with TLS or without, as http.client uses one.

    http.client's own timeout is per read, so an answer that comes byte by byte never meets it. Here each read gets the
    rest of the exchange's time.
    """

    def __init__(
        self, sock: socket.socket, deadline: Deadline, *, limit: int, too_long: type[Exception], before_write: Call
    ) -> None:
        """An answer may have `limit` bytes, headers and framing included; for more `too_long` is raised.

        `before_write` is called before each write, and raises where that is not permitted.
        """
        self._socket = sock
        self._limit = limit
        self._too_long = too_long
        self._before_write = before_write
        self.deadline = deadline
        self.received = 0
        """Bytes of the answer."""
        self.has_ended = False
        """Whether the other side has ended the connection, and all that it sent was read."""

    def begin(self, deadline: Deadline) -> None:
        """Another exchange uses it from now on."""
        self.deadline = deadline
        self.received = 0

    def sendall(self, data: bytes) -> None:
        """Send bytes. Raises TimeoutError at the deadline, and what `before_write` raises."""
        self._before_write()
        self._socket.settimeout(self.deadline.rest())
        self._socket.sendall(data)

    def read_into(self, raw: io.RawIOBase, buffer: "WriteableBuffer") -> int | None:
        """Read what comes next. Raises TimeoutError at the deadline, `too_long` for more than an answer may have.

        http.client reads "-1" as a chunk's length, and then reads without end; so the bound is below it.
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
        """Nothing: the deadline holds."""

    def fileno(self) -> int:
        """By which the pool of kept connections sees that the other side has closed one."""
        return self._socket.fileno()

    def shutdown(self, how: int) -> None:
        """End one or both directions."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class FinalResponse(http.client.HTTPResponse):
    """Passes over interim answers (RFC 9110, section 15.2) such as `103 Early Hints`; http.client knows 100 alone.

    101 is final: it is sent to who asked to change the protocol, and we never do.
    """

    def begin(self) -> None:
        """Read the head of the final answer. Raises http.client.HTTPException, also for interim answers without end."""
        for _ in range(_MOST_INTERIM):
            super().begin()
            if not 100 < self.status < 200 or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            # http.client reads a head where it has none.
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
