"""Serve the simulated platform on a socket. Each connection has its own thread, so a slow answer delays no other.

The `wait_seconds` and `manner` of a reply decide whether it is sent at once, late, byte by byte, in part or not at all.

The same port serves the control endpoint under `/simulator/`, for tests, the demo and people:

- `GET /simulator/record`: arrivals, violations, smallest spacings
- `GET /simulator/callbacks`: the number of callbacks in each state
- `GET /simulator/truth`: `{"orders": [...]}`, the truth about each order at this moment
- `POST /simulator/orders`: `{"orders": [...]}`, each with the fields of `worker.simulator.orders.NewOrder`; places all
  orders or none
- `POST /simulator/faults`: the fields of `worker.simulator.faults.Faults`; replaces the faults in force

A field accepts the values of its type; a missing field has its default. If a field is unknown or has a wrong type, the
answer has status 400 and `{"error": "..."}`, which names this field.
"""

import contextlib
import json
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import responses
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import ThreadingTCPServer
from typing import Any

from pydantic import TypeAdapter, ValidationError, with_config

from worker.simulator.callbacks import Push
from worker.simulator.faults import Faults
from worker.simulator.orders import FIELDS_ONLY, NewOrder
from worker.simulator.platform import Platform, Reply, SimulatorConfig
from worker.simulator.protocol import Head, sid_of

_CONTROL = "/simulator/"
_IDLE_SECONDS = 60.0
_LARGEST_BODY = 64 * 1024 * 1024
_POLL_SECONDS = 0.1
_DRIP_SECONDS = 0.1
"""The wait between two bytes of a dripping answer."""


class Simulator:
    """A simulated platform. Use it as a context manager, or call `start` and `stop`. `push` sends the callbacks.

    The socket accepts connections as soon as this object exists. Raises OSError if the address, or the file of the
    record, cannot be used.
    """

    def __init__(self, config: SimulatorConfig, *, push: Push | None = None) -> None:
        self.platform = Platform(config, push=push)
        self.record = self.platform.record
        self.register = self.platform.register
        self._server = _Server((config.host, config.port), self.platform)
        host, port = self._server.server_address[:2]
        self.url = f"http://{host!s}:{port}"
        """The base URL, such as `http://127.0.0.1:40123`."""

    def start(self) -> None:
        """Start serving, in separate threads."""
        serve = partial(self._server.serve_forever, 0.05)
        for name, run in (("server", serve), ("callbacks", self.platform.callbacks.run)):
            threading.Thread(target=run, name=f"simulator-{name}", daemon=True).start()

    def stop(self) -> None:
        """Stop answering. `record` can still be read."""
        self.platform.stopping.set()
        self.platform.callbacks.stop()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "Simulator":
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()


class _Server(ThreadingTCPServer):
    """A server with a thread for each connection. A thread ends when its caller disconnects.

    Once the platform closes, the threads send no more answers.
    """

    allow_reuse_address = True
    daemon_threads = True
    # Several hundred accounts may connect at the same moment.
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], platform: Platform) -> None:
        self.platform = platform
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error if the caller has disconnected. Print any other error, because it is a defect of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: _Server

    def serve(self) -> None:
        """Reply to a request whose line and headers have been read completely."""
        platform = self.server.platform
        if self.path.startswith(_CONTROL):
            body, client = self._body() or b"", str(self.client_address[0])
            reply = control(platform, client=client, method=self.command, path=self.path, body=body)
        elif (sid := sid_of(self.path)) is None:
            self._body()
            reply = Reply(status=404, body=b"")
        else:
            arrival = platform.record.arrive(sid, self.command)
            head = Head(method=self.command, target=self.path, headers=self.headers.items())
            reply = platform.answer(arrival, head, self._body())
        self._reply(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = serve

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, because the record has more details."""

    def _body(self) -> bytes | None:
        """The whole body; None if it does not come completely or its length is wrong."""
        length = self.headers.get("Content-Length", "0" if self.command in ("GET", "HEAD") else "")
        if length.isascii() and length.isdigit() and int(length) <= _LARGEST_BODY:
            with contextlib.suppress(OSError):
                body = self.rfile.read(int(length))
                if len(body) == int(length):
                    return body
        # Close the connection after the reply. Otherwise the rest of the body, which is not read, would be taken for
        # the next request.
        self.close_connection = True
        return None

    def _reply(self, reply: Reply) -> None:
        """Wait for the time that the reply asks for, and send it. Send nothing if the platform closes before.

        Ignore that the caller has disconnected.
        """
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
                self._drip(head + body)
            case "drip-body":
                self.wfile.write(head)
                self._drip(body)
            case _:
                self.wfile.write(head + (b"" if self.command == "HEAD" else body))

    def _head(self, reply: Reply) -> bytes:
        headers = [*reply.headers, ("Content-Length", str(len(reply.body))), ("Date", self.date_time_string())]
        if 300 <= reply.status < 400:
            # Redirect to the same address. If a caller follows the redirect, the record shows a second arrival.
            headers.append(("Location", self.path))
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _drip(self, data: bytes) -> None:
        for position in range(len(data)):
            self.wfile.write(data[position : position + 1])
            if self.server.platform.stopping.wait(_DRIP_SECONDS):
                return

    def _wait_for_caller_to_go(self) -> None:
        while not self.server.platform.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], _POLL_SECONDS)
            if readable and not self.connection.recv(4096):
                return

    def _reset(self) -> None:
        """Close the connection with a reset (RST) instead of a FIN. A linger time of zero causes the reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class _NewOrders:
    orders: tuple[NewOrder, ...] = ()


_ORDERS, _FAULTS = TypeAdapter(_NewOrders), TypeAdapter(Faults)


def control(platform: Platform, *, client: str, method: str, path: str, body: bytes) -> Reply:
    """Answer a request to the control endpoint. `client` is the caller's IP address; it must be one of this machine."""
    if not ip_address(client).is_loopback:
        return _reply(403, {"error": "the control endpoint serves this machine only"})
    route = _ROUTES.get((method, path))
    if route is None:
        known = ", ".join(f"{verb} {path}" for verb, path in _ROUTES)
        return _reply(404, {"error": f"no {method} {path} here; known are {known}"})
    try:
        return _reply(200, route(platform, body))
    except ValidationError as error:
        return _reply(400, {"error": "; ".join(_words(fault) for fault in error.errors())})
    except ValueError as error:
        return _reply(400, {"error": str(error)})


def _words(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


def _place_orders(platform: Platform, body: bytes) -> object:
    placed = platform.register(_ORDERS.validate_json(body).orders)
    return {"registered": len(placed), "request_ids": [order.request_id for order in placed]}


def _set_faults(platform: Platform, body: bytes) -> object:
    platform.set_faults(_FAULTS.validate_json(body))
    return {"status": "ok"}


def _reply(status: int, value: object) -> Reply:
    return Reply(status=status, body=json.dumps(value, ensure_ascii=False).encode())


_ROUTES: dict[tuple[str, str], Callable[[Platform, bytes], object]] = {
    ("GET", "/simulator/record"): lambda platform, _: platform.record.summary(),
    ("GET", "/simulator/callbacks"): lambda platform, _: platform.callbacks.counts(),
    ("GET", "/simulator/truth"): lambda platform, _: {"orders": platform.truth()},
    ("POST", "/simulator/orders"): _place_orders,
    ("POST", "/simulator/faults"): _set_faults,
}
