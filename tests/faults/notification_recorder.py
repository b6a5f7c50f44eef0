"""A receiver of notifications that keeps every delivery in a file, and answers as it was told: a program of its own.

It shares no code with the product, and no library: HTTP, HMAC and JSON are the standard library's. Its folder holds

- `deliveries.jsonl`, a line for each delivery, written before it is answered: what was answered is there, even after
  `kill -9`;
- `answers.json`, how it answers (`Plan`), read again for each delivery. It may be written while the recorder is down.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DELIVERIES, ANSWERS = "deliveries.jsonl", "answers.json"
"""The names of its files."""

WHOLE, HANG, DRIP_HEADERS, DRIP_BODY, CLOSE, GARBAGE = "whole", "hang", "drip-headers", "drip-body", "close", "garbage"
"""How it answers: at once; never; with headers that never end; with headers at once and a body that never ends; by
closing the connection; with something that is no HTTP."""

_PATIENCE_SECONDS = 60.0
"""How long a hanging or dripping answer holds on to a connection that the other side does not close."""
_DRIP_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One way to answer a delivery."""

    how: str = WHOLE
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    until: float | None = None
    """Seconds since 1970 by the real clock: from then on it accepts instead."""

    @property
    def accepts(self) -> bool:
        """Whether the sender may take it for accepted."""
        return self.how in (WHOLE, DRIP_BODY) and 200 <= self.status < 300


class Plan:
    """What `answers.json` says: `{"default": answer, "orders": {request_id: answer}}`; without the file, 200."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def answer_to(self, request_id: str | None) -> Answer:
        """How a delivery about this order is answered now."""
        try:
            told = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return Answer()
        answer = Answer(**(told.get("orders", {}).get(request_id) or told.get("default") or {}))
        return Answer() if answer.until is not None and time.time() >= answer.until else answer


class Deliveries:
    """The file of deliveries."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._lock = threading.Lock()
        if os.fstat(self._file).st_size and os.pread(self._file, 1, os.fstat(self._file).st_size - 1) != b"\n":
            # A recorder was killed while it wrote: no answer was sent, and the next line stands for itself.
            os.write(self._file, b"\n")

    def keep(self, delivery: Mapping[str, Any]) -> None:
        """Write a delivery. The operating system has it when this returns."""
        with self._lock:
            os.write(self._file, json.dumps(delivery).encode() + b"\n")


def read_deliveries(file: Path) -> list[dict[str, Any]]:
    """Every delivery that was written, in the order of arrival."""
    found = []
    for line in file.read_bytes().splitlines() if file.exists() else []:
        with suppress(json.JSONDecodeError):  # Cut off when the recorder was killed; it was not answered.
            found.append(json.loads(line))
    return found


def is_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """Whether one of the signatures was made with one of these secrets, by Standard Webhooks 1.0."""
    named = {name.lower(): value for name, value in headers.items()}
    signed = f"{named.get('webhook-id')}.{named.get('webhook-timestamp')}.".encode() + body
    given = named.get("webhook-signature", "").split(" ")
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if any(hmac.compare_digest(one.encode(), f"v1,{right}".encode()) for one in given):
            return True
    return False


class RecordingServer(ThreadingHTTPServer):
    """The server. `clock` names a file with the seconds by which the scenario has stepped its clock."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, *, port: int, secrets: Sequence[str], clock: Path | None) -> None:
        self.plan = Plan(folder / ANSWERS)
        self.deliveries = Deliveries(folder / DELIVERIES)
        self.secrets = secrets
        self._clock = clock
        super().__init__(("127.0.0.1", port), _Exchange)

    def now(self) -> float:
        """Seconds since 1970, by the scenario's clock."""
        try:
            return time.time() + float(self._clock.read_text()) if self._clock else time.time()
        except (FileNotFoundError, ValueError):
            return time.time()


class _Exchange(BaseHTTPRequestHandler):
    server: RecordingServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Take whatever comes, by whatever method: the checker knows what should have come."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # Its sender ended in the middle of it.
            self.close_connection = True
            return
        is_valid = is_signed(dict(self.headers.items()), body, self.server.secrets)
        answer = self.server.plan.answer_to(_order_of(body)) if is_valid else Answer(status=401)
        self._keep(body, is_valid, answer)
        with suppress(OSError):  # The other side may close at any time.
            _ANSWERS[answer.how](self, answer)

    do_POST = do_PUT = do_HEAD = do_GET

    def _keep(self, body: bytes, is_valid: bool, answer: Answer) -> None:
        stamp = self.headers.get("webhook-timestamp", "")
        self.server.deliveries.keep(
            {
                "at": self.server.now(),
                "method": self.command,
                "path": self.path,
                "id": self.headers.get("webhook-id"),
                "age": time.time() - int(stamp) if stamp.isascii() and stamp.isdigit() else None,
                "is_valid": is_valid,
                "body": body.decode("utf-8", "backslashreplace"),
                "how": answer.how,
                "status": answer.status,
                "accepts": answer.accepts,
            }
        )

    def answer(self, answer: Answer) -> None:
        body = b'{"received": true}'
        self.wfile.write(_head(answer, len(body)) + body)

    def hang(self, _answer: Answer) -> None:
        # Readable: the other side has closed it.
        select.select([self.connection], [], [], _PATIENCE_SECONDS)
        self.close_connection = True

    def drip_headers(self, answer: Answer) -> None:
        self.wfile.write(_head(answer, 0).removesuffix(b"\r\n"))
        self._drip(b"x-drop: 1\r\n")

    def drip_body(self, answer: Answer) -> None:
        self.wfile.write(_head(answer, 1_000_000))
        self._drip(b"x")

    def _drip(self, drop: bytes) -> None:
        ends = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < ends and not select.select([self.connection], [], [], _DRIP_SECONDS)[0]:
            self.wfile.write(drop)
        self.close_connection = True

    def close_it(self, _answer: Answer) -> None:
        self.close_connection = True

    def write_garbage(self, _answer: Answer) -> None:
        self.wfile.write(b"\x00\x01 this is no answer\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing is logged: the file says it all."""


_ANSWERS: Mapping[str, Callable[[_Exchange, Answer], None]] = {
    WHOLE: _Exchange.answer,
    HANG: _Exchange.hang,
    DRIP_HEADERS: _Exchange.drip_headers,
    DRIP_BODY: _Exchange.drip_body,
    CLOSE: _Exchange.close_it,
    GARBAGE: _Exchange.write_garbage,
}


def _head(answer: Answer, length: int) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(length), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _order_of(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["data"]["request_id"])
    except (ValueError, KeyError, TypeError):
        return None


def main() -> None:
    """Serve until the end; the first line of the output is a JSON object with the URL."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--secret", action="append", required=True, help="one that the sender may sign with")
    parser.add_argument("--clock", type=Path, help="a file with the seconds by which the clock was stepped")
    options = parser.parse_args()
    with RecordingServer(options.folder, port=options.port, secrets=options.secret, clock=options.clock) as recorder:
        print(json.dumps({"url": f"http://127.0.0.1:{recorder.server_port}/notifications"}), flush=True)
        recorder.serve_forever()


if __name__ == "__main__":
    main()
