"""A server on loopback that answers with exactly the given bytes, however wrong they are."""

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""Self-signed, for 127.0.0.1, with its key; valid until 2120."""


class Peer:
    """One accepted connection, as a reply sees it."""

    def __init__(self, line: socket.socket, stopped: threading.Event) -> None:
        self._line = line
        self._stopped = stopped

    def send(self, data: bytes) -> None:
        """Send bytes; a client that has gone is no error here."""
        self._line.sendall(data)

    def drip(self, data: bytes, every: float = 0.02) -> None:
        """Send byte by byte, until all is sent or the client is gone."""
        for byte in data:
            self.send(bytes([byte]))
            if self._stopped.wait(every):
                return

    def flood(self, data: bytes) -> None:
        """Send the same bytes again and again, until the client is gone."""
        while not self._stopped.is_set():
            self.send(data)

    def hold(self) -> None:
        """Send nothing until the client is gone."""
        self._line.recv(1)

    def wait_for_reset(self) -> bool:
        """Whether the client ends its connection with a reset; the mere end of its sending is none."""
        poll = select.poll()
        poll.register(self._line, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(60_000))

    def reset(self) -> None:
        """End the connection with a reset."""
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Reply = Callable[[Peer], object]


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole HTTP answer; `length` is a Content-Length that is not the body's."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class RawServer:
    """Serves one reply to every connection. Keeps the `requests` and how many `connections` were made."""

    def __init__(self, reply: Reply | bytes, *, tls: bool = False) -> None:
        self._reply: Reply = reply if callable(reply) else lambda peer: peer.send(reply)
        self._tls = tls
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="raw-server")
        self.accepted = threading.Event()
        self.requests: list[bytes] = []
        self.connections = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving; afterwards `requests` is complete."""
        self._stopped.set()
        # A shutdown wakes accept(), which a close does not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(90)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self.accepted.set()
            # The client may have gone.
            with line, suppress(OSError):
                self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        line.settimeout(60)
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            line = context.wrap_socket(line, server_side=True)
        with line:
            request = _whole_request(line)
            if request:
                self.requests.append(request)
                self._reply(Peer(line, self._stopped))


def _whole_request(line: socket.socket) -> bytes:
    data = b""
    while chunk := line.recv(65536):
        data += chunk
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = next(int(each[15:]) for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:"))
            if len(body) >= length:
                break
    return data
