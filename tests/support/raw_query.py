"""Queries to the platform, built by hand from its page without the worker's code, to test the simulator with."""

import base64
import hashlib
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

SID, TOKEN, APP_ID = "abcdefghijklmnopqrstuvwxyz012345", "0123456789abcdef0123456789abcdef", "ff8080813fc70a7b"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code. Raises KeyError where the answer is no error."""
        return str(self.json["statusCode"])


@dataclass(frozen=True, kw_only=True)
class RawQuery:
    """A correct query; `but` makes it incorrect in one respect."""

    ids: str = "1000"
    id_kind: str = "requestId"
    sid: str = SID
    token: str = TOKEN
    app_id: str = APP_ID
    stamp: str | None = None
    sign: str | None = None
    method: str = "POST"
    path: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Instead of the correct header of the same name."""
    body: bytes | None = None

    def but(self, **changes: Any) -> "RawQuery":
        """The same query with these differences."""
        return replace(self, **changes)

    def send(self, url: str, *, timeout: float = 20.0) -> Answered:
        """Send it to the platform at `url`."""
        stamp = self.stamp or platform_stamp()
        sign = self.sign or hashlib.md5(f"{self.sid}{self.token}{stamp}".encode()).hexdigest()
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json;charset=utf-8",
            "Authorization": base64.b64encode(f"{self.sid}|{stamp}".encode()).decode(),
        } | dict(self.headers)
        body = self.body
        if body is None:
            fields = {"action": "getTrafficResult", "appid": self.app_id, self.id_kind: self.ids}
            body = json.dumps(fields).encode()
        path = self.path or f"/201512/sid/{self.sid}/traffic/Traffic.wx?Sign={sign}"
        return exchange(url, self.method, path, body, headers, timeout=timeout)


def platform_stamp(*, ago: timedelta = timedelta(0)) -> str:
    """The platform's local time as `yyyyMMddHHmmss`: UTC and eight hours."""
    return (datetime.now(UTC) - ago + timedelta(hours=8)).strftime("%Y%m%d%H%M%S")


def exchange(
    url: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, timeout: float = 20.0
) -> Answered:
    """One HTTP exchange over a connection of its own. Raises OSError and http.client.HTTPException."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return Answered(status=response.status, headers=dict(response.getheaders()), body=response.read())
    finally:
        connection.close()


def read_control(url: str, path: str) -> Any:
    """Read from the platform's control endpoint."""
    return exchange(url, "GET", f"/simulator/{path}", None, {}).json


def write_control(url: str, path: str, value: Mapping[str, object] | Sequence[object]) -> Answered:
    """Write to the platform's control endpoint."""
    return exchange(url, "POST", f"/simulator/{path}", json.dumps(value).encode(), {})
