"""requests, narrowed to what one query may do: connect once, write once, read an answer that is bounded."""

import io
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Retry
from urllib3.util.ssl_ import create_urllib3_context, ssl_wrap_socket

from worker.adapters.dialing import dial
from worker.adapters.final_response import FinalResponse
from worker.adapters.platform.errors import describe
from worker.adapters.platform.exchange import Exchange
from worker.domain.records.query_errors import Malformed, NotSent, QueryError, Unreachable
from worker.domain.wire.answers import BODY_LIMIT
from worker.domain.wire.signed_requests import WireRequest

WIRE_LIMIT = 2 * BODY_LIMIT
"""Bytes that are taken from the network for one answer, headers and framing included."""
ERROR_BODY_LIMIT = 8192
"""Bytes that are read of the body of an answer other than 200: enough for an excerpt."""
_CHUNK = 65536

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(kw_only=True, slots=True)
class Received:
    """What has been received of the answer so far, also where the exchange breaks."""

    status: int | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    retry_after: str | None = None
    body: bytearray = field(default_factory=bytearray)
    """As it came: still compressed, where it is."""


def exchange_once(
    request: WireRequest, exchange: Exchange, received: Received, *, authorities: str | None = None
) -> None:
    """Send the request and read the answer into `received`. `authorities`: as in `certificates.Authorities.path`.

    Raises NotSent, Unreachable, DeadlineExceeded or Malformed where it is known which it is, and otherwise whatever
    requests, urllib3, http.client or the operating system raise (`worker.adapters.platform.errors` maps them).
    """
    prepared = requests.Request(
        "POST",
        request.url,
        headers={
            "User-Agent": "recharge-reconciler",
            **request.headers,
            "Accept-Encoding": "identity",
            "Connection": "close",
        },
        data=request.body,
    ).prepare()
    # The adapter without a session: a session reads proxies and .netrc from the environment (trust_env; a .netrc was
    # seen to replace our Authorization header), follows redirects, and reads a redirect's body without any bound even
    # where it does not follow it. The adapter does none of this, and a new one has no connection to reuse.
    adapter = _OneQueryAdapter(exchange)
    try:
        rest = max(exchange.rest, 0.001)
        response = adapter.send(prepared, stream=True, timeout=rest, verify=authorities or True)
        try:
            _read(response, received)
        finally:
            response.close()
    finally:
        adapter.close()
        # A connection that the platform left open goes back to urllib3's pool, which closes it when the pool is
        # collected: too late for a cut.
        for connection in adapter.made:
            connection.close()


def _read(response: requests.Response, received: Received) -> None:
    received.status = response.status_code
    received.content_type = response.headers.get("Content-Type")
    received.content_encoding = response.headers.get("Content-Encoding")
    received.retry_after = response.headers.get("Retry-After")
    limit = BODY_LIMIT if response.status_code == 200 else ERROR_BODY_LIMIT
    while len(received.body) <= limit:
        # Not decoded here: `answer_headers.decoded` is bounded, and notices a stream that was cut short.
        chunk = response.raw.read(min(_CHUNK, limit + 1 - len(received.body)), decode_content=False)
        if not chunk:
            return
        received.body += chunk
    if response.status_code == 200:
        raise Malformed(f"the answer's body is longer than {BODY_LIMIT} bytes")


class _OneQueryAdapter(HTTPAdapter):
    """requests' adapter whose connections are watched by one exchange. Never retries."""

    def __init__(self, exchange: Exchange) -> None:
        # False, not 0: with 0, urllib3 wraps each error in "max retries exceeded", which names the signed URL.
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=Retry(total=False))
        self.made: list[HTTPConnection] = []
        self.poolmanager.pool_classes_by_scheme = _watched_pools(exchange, self.made)


def _watched_pools(watch: Exchange, made_here: list[HTTPConnection]) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3 makes its connections itself, from a class: so they get the exchange as an attribute of that class."""

    class Plain(_WatchedConnection):
        exchange = watch
        made = made_here

    class Tls(_WatchedTlsConnection):
        exchange = watch
        made = made_here

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


class _CappedReader(io.RawIOBase):
    """A socket's raw reader that stops at WIRE_LIMIT.

    http.client reads "-1" as a chunk's length, and then reads without end; so the bound is below it.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._left = WIRE_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise Malformed(f"the answer is longer than {WIRE_LIMIT} bytes")
        return count

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class _CappedResponse(FinalResponse):
    """A response, reading from a capped reader."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None) -> None:
        super().__init__(sock, debuglevel, method)
        self.fp = io.BufferedReader(_CappedReader(self.fp.detach()))


class _WatchedConnection(HTTPConnection):
    """urllib3's connection, made within the exchange's time and watched by it; each write needs its permission."""

    exchange: Exchange
    made: list[HTTPConnection]
    response_class = _CappedResponse
    # http.client would connect again for the rest of a request whose connection is gone.
    auto_open = 0

    def connect(self) -> None:
        """Make a TCP connection under the exchange's watch. Raises Unreachable, NotSent."""
        self.sock = self._dialled()

    def _dialled(self) -> socket.socket:
        self.made.append(self)
        failure: QueryError
        try:
            line = dial(self.host, self.port, self.exchange.connecting, self.exchange.prepare)
        except OSError as error:
            failure = Unreachable(f"no connection: {describe(error)}")
        except RuntimeError:
            failure = NotSent("no thread could be started to find the platform's address")
        else:
            return self._watched(line)
        raise failure

    def _watched(self, line: socket.socket) -> socket.socket:
        try:
            self.exchange.watch(line)
        except BaseException:
            line.close()
            raise
        return line

    def send(self, data: bytes) -> None:  # type: ignore[override]  # urllib3 hands over bytes only, for a body of bytes
        """Send bytes, if the exchange permits. Raises NotSent, DeadlineExceeded."""
        if self.sock is None and not self.exchange.sent:
            self.connect()
        self.exchange.before_write()
        if self.sock is not None:
            # Until here the time for connecting held, TLS included.
            self.sock.settimeout(max(self.exchange.rest, 0.001))
        super().send(data)


class _WatchedTlsConnection(_WatchedConnection, HTTPSConnection):
    """The same over TLS, with a certificate that is checked and names the host."""

    def connect(self) -> None:
        """Connect and shake hands. Raises what the plain connection raises, and ssl.SSLError or OSError."""
        # urllib3's own method makes its socket by a private one, so the handshake stands here.
        self.sock = line = self._dialled()
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
        if not (self.ca_certs or self.ca_cert_dir):
            context.load_default_certs()
        # An IPv6 address as it stands in the certificate: without brackets and scope.
        name = self.host.strip("[]").partition("%")[0]
        self.sock = ssl_wrap_socket(
            line, ca_certs=self.ca_certs, ca_cert_dir=self.ca_cert_dir, server_hostname=name, ssl_context=context
        )
        self.is_verified = True
