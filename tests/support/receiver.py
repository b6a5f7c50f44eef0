"""A billing system that takes notifications over HTTP; shares no code with the worker."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

CERTIFICATE = Path(__file__).parent.parent / "contract" / "platform" / "loopback.pem"
"""Self-signed, for 127.0.0.1, with its key."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    """1 for the first connection, and so on."""

    @property
    def event_id(self) -> str:
        """Which event it is about."""
        return self.headers["webhook-id"]


class Answering:
    """What a reply may do with its connection."""

    def __init__(self, handler: BaseHTTPRequestHandler, stopped: threading.Event) -> None:
        self._handler = handler
        self._stopped = stopped

    def send(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """A whole answer; `Retry_After` names the header Retry-After."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def drip(self, data: bytes, every: float = 0.02) -> None:
        """Send byte by byte, until all is sent or the receiver stops."""
        for byte in data:
            self.send(bytes([byte]))
            if self._stopped.wait(every):
                return

    def hang(self) -> None:
        """Say nothing until the receiver stops."""
        self._stopped.wait(30)

    def hang_up(self) -> None:
        """Close the connection."""
        self._handler.close_connection = True


Reply = Callable[[Delivered, Answering], None]


def accept(_: Delivered, answering: Answering) -> None:
    """200, and nothing else."""
    answering.answer()


class _Server(ThreadingHTTPServer):
    # A full queue drops a connection, which its sender tries again after a second.
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False


class Receiver:
    """Listens on loopback, and keeps what it got in `requests`. `reply` may be replaced at any time."""

    def __init__(self, reply: Reply = accept, *, tls: bool = False) -> None:
        self.reply = reply
        self.requests: list[Delivered] = []
        self.connections = 0
        self.stopped = threading.Event()
        self.lines: set[Any] = set()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="receiver")

    @property
    def url(self) -> str:
        """Where it listens, with a path that holds a secret."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/hooks/a-secret-path?key=a-secret-key"

    @property
    def event_ids(self) -> list[str]:
        """The events of all requests, in their order."""
        return [request.event_id for request in self.requests]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more, and close every connection; done once more it does nothing."""
        self.stopped.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Close every connection that is open."""
        for line in list(self.lines):
            line.close_connection = True
            line.hang_up()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1
                self.number = receiver.connections
                receiver.lines.add(self)

            def hang_up(self) -> None:
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Delivered(path=self.path, headers=headers, body=body, connection=self.number)
                receiver.requests.append(request)
                receiver.reply(request, Answering(self, receiver.stopped))

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                # The sender may have gone.
                with suppress(OSError):
                    super().handle()

            def finish(self) -> None:
                receiver.lines.discard(self)
                with suppress(OSError):
                    super().finish()

        return Handler
