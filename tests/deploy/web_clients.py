"""Clients of a proxy: people, the platform, and those who are slow or send nonsense."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from urllib.parse import urlencode

from tests.deploy.web_proxies import CALLBACKS, CONSOLE, Answer, WebProxy
from tests.support.console import hidden_fields

TOKEN = "the-token-of-account-default"
PATH = f"/callbacks/default/{TOKEN}"
"""The path of the callbacks of an account with that token."""
LONGEST = 64 * 1024
"""Bytes of a callback."""
_SENDERS = 20
# For nginx where the files set no limit, and for lines of a request.
_TOO_LONG = 2_000_000


def callback(request_id: str, length: int = 0) -> bytes:
    """A callback, of so many bytes at least."""
    item = {"requestId": request_id, "trafficSts": "1", "oriAmount": "2.94", "mobile": "188****0804"}
    return json.dumps(item).encode().ljust(length)


class Browser:
    """Somebody at the console through a proxy."""

    def __init__(self, proxy: WebProxy) -> None:
        self._proxy = proxy
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Answer:
        """Open a page."""
        return self._open("GET", path, b"", {})

    def post(self, path: str, page: Answer, *, origin: str = f"https://{CONSOLE}", **typed: str) -> Answer:
        """Send a page's form, with what was typed in."""
        form = urlencode({**hidden_fields(page.text), **typed}).encode()
        sent = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
        return self._open("POST", path, form, sent)

    def _open(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        kept = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        answer = self._proxy.request(CONSOLE, method, path, body, headers={**headers, **kept})
        for line in answer.headers.get_all("Set-Cookie", []):
            assert "; Secure" in line
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


@contextmanager
def slow_senders(proxy: WebProxy, order: str) -> Iterator[tuple[list[ssl.SSLSocket], list[ssl.SSLSocket]]]:
    """Senders to both hosts, more than `serve` has threads: of bodies that stall, and of bodies that may drip."""
    stalled: list[ssl.SSLSocket] = []
    dripping: list[ssl.SSLSocket] = []
    heads: list[bytes] = []
    # Without such a cookie the form of the sign-in is not read.
    form = "Content-Type: application/x-www-form-urlencoded\r\nCookie: __Host-before-sign-in=x\r\n"
    with ExitStack() as stack:
        for host, path, headers, longest in ((CALLBACKS, PATH, "", LONGEST), (CONSOLE, "/sign-in", form, 4 * LONGEST)):
            head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}".encode()
            # All that passes, without the end.
            most = b"%x\r\n%s\r\n" % (longest, callback(order, longest))
            for _ in range(_SENDERS):
                for senders, rest in (
                    (stalled, b"Content-Length: 500\r\n\r\n"),
                    (stalled, b"Transfer-Encoding: chunked\r\n\r\n" + most),
                    (dripping, b"Content-Length: 500\r\n\r\n"),
                ):
                    sender = stack.enter_context(closing(proxy.connect(host)))
                    senders.append(sender)
                    if senders is dripping:
                        heads.append(head + rest)
                    else:
                        sender.sendall(head + rest)
        # Last: nginx waits for the next byte of a body for ten seconds only.
        for sender, first in zip(dripping, heads, strict=True):
            sender.sendall(first)
        yield stalled, dripping


def has_ended(connection: ssl.SSLSocket) -> bool:
    """Whether the proxy has ended it; what it said before that is passed over."""
    connection.settimeout(0)
    try:
        while connection.recv(4096):
            pass
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
    return True


def requests_with_a_token(host: str) -> Iterator[bytes]:
    """Requests with the path of callbacks: proper ones, those that are refused, and those that no proxy can read."""
    post, host_line = f"POST {PATH} HTTP/1.1\r\n", f"Host: {host}\r\n"
    for lines in (
        f"{post}{host_line}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}",
        f"{post}{host_line}Content-Length: {_TOO_LONG}\r\nConnection: close\r\n\r\n{' ' * _TOO_LONG}",
        f"{post}{host_line}Content-Length: x\r\n\r\n",
        f"{post}{host_line}Transfer-Encoding: x\r\n\r\n",
        f"{post}{host_line}{host_line}\r\n",
        f"{post}{host_line}No colon\r\n\r\n",
        f"{post}{host_line}Expect: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        f"{post}{host_line}X: {'x' * _TOO_LONG}\r\n\r\n",
        f"{post}Host: a b\r\n\r\n",
        f"{post}Connection: close\r\n\r\n",
        f"POST {PATH}%zz HTTP/1.1\r\n{host_line}\r\n",
        f"POST {PATH}{'x' * _TOO_LONG} HTTP/1.1\r\n{host_line}\r\n",
        f"POST {PATH} HTTP/9.9\r\n{host_line}\r\n",
        f"POST {PATH} nonsense\r\n{host_line}\r\n",
        f"P<ST {PATH} HTTP/1.1\r\n{host_line}\r\n",
        f"POST https://{host}{PATH} HTTP/1.1\r\n{host_line}Content-Length: 0\r\nConnection: close\r\n\r\n",
        f"GET {PATH}\r\n\r\n",
        f"{PATH}\r\n\r\n",
        f"CONNECT {PATH} HTTP/1.1\r\n{host_line}\r\n",
        f"GET /sign-in HTTP/1.1\r\n{host_line}Referer: https://{host}{PATH}\r\nConnection: close\r\n\r\n",
    ):
        yield lines.encode()


def first_answer(connection: socket.socket, sent: bytes) -> bytes:
    """The first bytes that come back, if any."""
    with closing(connection), suppress(OSError):
        connection.sendall(sent)
        return connection.recv(4096)
    return b""
