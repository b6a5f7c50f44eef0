"""A connection on which every read and every write ends by the deadline of the exchange that uses it."""

import io
import socket
from typing import TYPE_CHECKING

from worker.adapters.deadline import Deadline

WIRE_LIMIT = 262_144
"""Bytes that are taken from the network for one answer, headers and framing included."""

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Line:
    """A connected socket, with TLS or without, as http.client uses one.

    http.client's own timeout is per read, so an answer that comes byte by byte never meets it. Here each read gets the
    rest of the exchange's time.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._socket = sock
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
        """Send bytes. Raises TimeoutError at the deadline."""
        self._socket.settimeout(self.deadline.rest())
        self._socket.sendall(data)

    def read_into(self, raw: io.RawIOBase, buffer: "WriteableBuffer") -> int | None:
        """Read what comes next. Raises TimeoutError at the deadline, ValueError for more than an answer may have."""
        self._socket.settimeout(self.deadline.rest())
        count = raw.readinto(buffer)
        self.received += count or 0
        self.has_ended = count == 0
        if self.received > WIRE_LIMIT:
            raise ValueError(f"the answer is longer than {WIRE_LIMIT} bytes")
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
