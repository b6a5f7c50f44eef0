"""The simulated platform on a socket: one thread per connection, so that a slow answer delays no other.

An answer is sent at once, late, byte by byte, in part or not at all, by its `manner`.
"""

import contextlib
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, TextIO

from worker.simulator.callbacks import CallbackSink
from worker.simulator.config import SimulatorConfig
from worker.simulator.control import PREFIX, control
from worker.simulator.platform import Platform, Reply, utc_now
from worker.simulator.protocol import Head, sid_of

_IDLE_SECONDS = 60.0
_LARGEST_QUERY = 1024 * 1024
_LARGEST_CONTROL = 64 * 1024 * 1024
_JOIN_SECONDS = 10.0
_POLL_SECONDS = 0.1


class Simulator:
    """A running simulated platform: a context manager, or `start` and `stop`.

    `on_callback` receives the callbacks that are due (see `worker.simulator.callbacks`). With a `clock` of your own
    (monotonic seconds) orders settle by that clock, and callbacks are pushed within a second of real time after it.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        on_callback: CallbackSink | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._resources = contextlib.ExitStack()
        self._lines: TextIO | None = None
        if config.record_path:
            # For its owner only: it names orders.
            config.record_path.touch(0o600)
            self._lines = self._resources.enter_context(config.record_path.open("a", encoding="utf-8"))
        self.platform = Platform(config, on_callback=on_callback, clock=clock, wall_clock=wall_clock, lines=self._lines)
        self.record = self.platform.record
        self.register = self.platform.register
        self._threads: list[threading.Thread] = []
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """The base URL, e.g. `http://127.0.0.1:40123`. Raises RuntimeError before `start`."""
        if self._server is None:
            raise RuntimeError("the simulated platform was not started")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> None:
        """Listen and serve, in threads of its own. Raises OSError where the address cannot be used."""
        config = self.platform.config
        self._server = _Server((config.host, config.port), self.platform)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="simulator-server", daemon=True),
            threading.Thread(target=self.platform.callbacks.run, name="simulator-callbacks", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close every connection and end every thread; the record stays readable."""
        self.platform.stopping.set()
        self.platform.callbacks.stop()
        if self._server:
            self._server.shutdown()
            self._server.close_connections()
            self._server.server_close()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        self._resources.close()

    def __enter__(self) -> "Simulator":
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()


class _Server(ThreadingTCPServer):
    """A thread for each connection; all of them have ended when it is closed."""

    allow_reuse_address = True
    # Several hundred accounts may connect at the same moment.
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], platform: Platform) -> None:
        self.platform = platform
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Wake every thread that reads from a caller."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the caller has closed it already
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore callers that have gone; print any other error, which is a defect here."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: _Server

    def serve(self) -> None:
        """Reply to a request whose line and headers have been read in full."""
        platform = self.server.platform
        if self.path.startswith(PREFIX):
            body = self._body(_LARGEST_CONTROL) or b""
            client = str(self.client_address[0])
            reply = control(platform, client=client, method=self.command, target=self.path, body=body)
        elif (sid := sid_of(self.path)) is None:
            self._body(_LARGEST_QUERY)
            reply = Reply(status=404, body=b"")
        else:
            arrival = platform.record.arrive(sid, self.command)
            head = Head(method=self.command, target=self.path, headers=self.headers.items())
            reply = platform.answer(arrival, head, self._body(_LARGEST_QUERY))
        self._reply(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = serve

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the record holds more."""

    def _body(self, largest: int) -> bytes | None:
        """The whole body, or None where it does not come whole or its length is wrong."""
        length = self.headers.get("Content-Length", "0" if self.command in ("GET", "HEAD") else "")
        if length.isascii() and length.isdigit() and int(length) <= largest:
            with contextlib.suppress(OSError):
                body = self.rfile.read(int(length))
                if len(body) == int(length):
                    return body
        # A rest that was not read would be taken for the next request.
        self.close_connection = True
        return None

    def _reply(self, reply: Reply) -> None:
        """Send one reply. Waits end early once the platform closes; a caller that has gone is no error."""
        stopping = self.server.platform.stopping
        if stopping.wait(reply.wait_seconds) if reply.wait_seconds else stopping.is_set():
            self.close_connection = True
            return
        try:
            self._send(reply)
        except OSError:
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        head, body = self._head(reply), reply.body
        self.close_connection = self.close_connection or reply.manner != "whole"
        match reply.manner:
            case "silent":
                self._wait_for_caller_to_go()
            case "reset":
                self._reset()
            case "reset-midway":
                self.wfile.write(head + body[: len(body) // 2])
                self._reset()
            case "drip-headers":
                self._drip(head + body, reply.drip_seconds)
            case "drip-body":
                self.wfile.write(head)
                self._drip(body, reply.drip_seconds)
            case _:
                self.wfile.write(head + (b"" if self.command == "HEAD" else body))

    def _head(self, reply: Reply) -> bytes:
        reasons = {status.value: status.phrase for status in HTTPStatus}
        headers = [*reply.headers, ("Content-Length", str(len(reply.body))), ("Date", self.date_time_string())]
        if 300 <= reply.status < 400:
            # To the same address: a caller that follows it arrives a second time, which the record shows.
            headers.append(("Location", self.path))
        lines = [f"HTTP/1.1 {reply.status} {reasons.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _drip(self, data: bytes, pause: float) -> None:
        for position in range(len(data)):
            self.wfile.write(data[position : position + 1])
            if self.server.platform.stopping.wait(pause):
                return

    def _wait_for_caller_to_go(self) -> None:
        while not self.server.platform.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], _POLL_SECONDS)
            if readable and not self.connection.recv(4096):
                return

    def _reset(self) -> None:
        """Close by a reset (RST) instead of a FIN: linger for no time."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
