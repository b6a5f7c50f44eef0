"""How an answer leaves the platform: at once, late, in drips, in part or not at all."""

import select
import socket
import struct
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from worker.simulator.platform import Reply

_POLL_SECONDS = 0.1


def send(handler: BaseHTTPRequestHandler, reply: Reply, stopping: threading.Event) -> None:
    """Send one reply in its manner. Waits end early once `stopping` is set; a caller that has gone is no error."""
    if stopping.wait(reply.wait_seconds) if reply.wait_seconds else stopping.is_set():
        handler.close_connection = True
        return
    try:
        _send(handler, reply, stopping)
    except OSError:
        handler.close_connection = True


def _send(handler: BaseHTTPRequestHandler, reply: Reply, stopping: threading.Event) -> None:
    head = _head(handler, reply)
    handler.close_connection = handler.close_connection or reply.manner != "whole"
    match reply.manner:
        case "silent":
            _wait_for_caller_to_go(handler.connection, stopping)
        case "reset":
            _reset(handler.connection)
        case "reset-midway":
            handler.wfile.write(head + reply.body[: len(reply.body) // 2])
            _reset(handler.connection)
        case "drip-headers":
            _drip(handler, head + reply.body, reply.drip_seconds, stopping)
        case "drip-body":
            handler.wfile.write(head)
            _drip(handler, reply.body, reply.drip_seconds, stopping)
        case _:
            handler.wfile.write(head + (b"" if handler.command == "HEAD" else reply.body))


def _head(handler: BaseHTTPRequestHandler, reply: Reply) -> bytes:
    reasons = {status.value: status.phrase for status in HTTPStatus}
    lines = [f"HTTP/1.1 {reply.status} {reasons.get(reply.status, 'Unknown')}"]
    headers = [*reply.headers, ("Content-Length", str(len(reply.body))), ("Date", handler.date_time_string())]
    if 300 <= reply.status < 400:
        # Back to the same address: a caller that follows it arrives a second time, which the record shows.
        headers.append(("Location", handler.path))
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _drip(handler: BaseHTTPRequestHandler, data: bytes, pause: float, stopping: threading.Event) -> None:
    for position in range(len(data)):
        handler.wfile.write(data[position : position + 1])
        if stopping.wait(pause):
            return


def _wait_for_caller_to_go(connection: socket.socket, stopping: threading.Event) -> None:
    while not stopping.is_set():
        readable, _, _ = select.select([connection], [], [], _POLL_SECONDS)
        if readable and not connection.recv(4096):
            return


def _reset(connection: socket.socket) -> None:
    """Let the close that follows be a reset (RST) and not a farewell (FIN): linger, for no time."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
