"""A TCP proxy that misbehaves on command: it holds, mutes, delays, drips and cuts what passes through it."""

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Self

import sqlalchemy

Upstream = tuple[str, int] | Path
"""A host and a port, or a Unix socket."""

_CHUNK = 65536
_POLL_SECONDS = 0.02


class Mode(StrEnum):
    """What happens to bytes."""

    PASS = "pass"
    HOLD = "hold"
    """Nothing passes in either direction; connections stay open, and new ones are accepted: a black hole."""
    MUTE = "mute"
    """The server receives everything and its answers are lost."""
    REFUSE = "refuse"
    """New connections are reset at once; open ones stay."""


class Proxy:
    """Listens on a loopback port, by default any free one, and forwards to one server. Use it as a context."""

    def __init__(self, upstream: Upstream, *, port: int = 0, delivers_late: bool = True) -> None:
        """With `delivers_late` what was held is forwarded once it may pass, as by a network that sends again.

        Without it, held connections are reset instead: no byte reaches the server later than it was sent.
        """
        self._upstream = upstream
        self._delivers_late = delivers_late
        self._mode = Mode.PASS
        self._delay: Callable[[], float] = lambda: 0.0
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        """Connections so far."""
        self._closed = False
        self.held = 0
        """How many connections came while the mode was HOLD."""
        self._stop_after: int | None = None
        self._stopped = threading.Event()
        threading.Thread(target=self._accept, name="proxy-accept", daemon=True).start()

    def set(self, mode: Mode) -> None:
        """Set the mode from now on."""
        if self._mode is Mode.HOLD and mode is not Mode.HOLD and not self._delivers_late:
            self.cut()
        self._mode = mode

    def lead_to(self, upstream: Upstream) -> None:
        """Lead to another server, as an address does that follows a failover; open connections are reset."""
        self._upstream = upstream
        self.cut()

    def delay_requests(self, seconds: Callable[[], float]) -> None:
        """Let the first bytes of each connection to the server wait; `seconds` is called for each connection."""
        self._delay = seconds

    def hold_after(self, count: int) -> None:
        """Forward `count` bytes of the next connection that sends any, and then hold everything; see `is_holding`."""
        self._stopped.clear()
        self._stop_after = count

    def wait_until_holding(self, seconds: float) -> bool:
        """Whether within so many seconds a connection came that `hold_after` now holds."""
        return self._stopped.wait(seconds)

    def strand(self) -> None:
        """Hold every open connection in both directions for good, without closing it; new ones pass: half open."""
        with self._lock:
            for pair in self._pairs:
                pair.is_held = True

    def cut(self) -> None:
        """Reset every open connection."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()

    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._pairs)

    def close(self) -> None:
        """Accept no more connections, and reset the open ones."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- for the connections

    def may_pass(self, to_server: bool, pair: "_Pair") -> bool:
        """Wait until bytes may pass in this direction; False where the connection ended meanwhile."""
        while self._mode is Mode.HOLD or pair.is_held:
            if pair.is_over or self._closed:
                return False
            time.sleep(_POLL_SECONDS)
        return to_server or self._mode is not Mode.MUTE

    def delay_of_request(self) -> float:
        """Seconds that the first bytes of a connection wait."""
        return self._delay()

    def take_limit(self) -> int | None:
        """How many bytes of a connection that begins to send may reach the server; None for all."""
        with self._lock:
            limit, self._stop_after = self._stop_after, None
            return limit

    def is_holding(self) -> None:
        """A connection has reached its limit."""
        self._stopped.set()

    def forget(self, pair: "_Pair") -> None:
        """A connection has ended."""
        with self._lock:
            self._pairs.discard(pair)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self._mode is Mode.REFUSE:
                _reset(client)
                continue
            was_held = self._mode is Mode.HOLD
            self.held += was_held
            threading.Thread(target=self._connect, args=(client, was_held), daemon=True).start()

    def _connect(self, client: socket.socket, was_held: bool) -> None:
        while self._mode is Mode.HOLD and not self._closed:
            time.sleep(_POLL_SECONDS)
        if was_held and not self._delivers_late:
            _reset(client)
            return
        try:
            server = self._dial()
        except OSError:
            _reset(client)
            return
        pair = _Pair(self, client, server)
        with self._lock:
            self._pairs.add(pair)
        pair.start()

    def _dial(self) -> socket.socket:
        if isinstance(self._upstream, Path):
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.connect(str(self._upstream))
            return line
        return socket.create_connection(self._upstream, timeout=5)


@contextmanager
def through_proxy(url: str, standard_port: int) -> Iterator[tuple[Proxy, str]]:
    """The same URL through a proxy of its own."""
    parsed = sqlalchemy.make_url(url)
    with Proxy((str(parsed.host), int(parsed.port or standard_port))) as proxy:
        user = f"{parsed.username}:{parsed.password}@" if parsed.username else ""
        # An AMQP URL's path is the virtual host: `//` is the one that is called `/`.
        path = url.split("://", 1)[1].partition("/")[2]
        yield proxy, f"{parsed.drivername}://{user}127.0.0.1:{proxy.port}/{path}"


class _Pair:
    """One connection, both ends of it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._limit: int | None = None
        self.is_held = False
        self.is_over = False
        for end in (client, server):
            end.settimeout(None)

    def start(self) -> None:
        """Forward in both directions."""
        for source, target, to_server in ((self._client, self._server, True), (self._server, self._client, False)):
            threading.Thread(target=self._forward, args=(source, target, to_server), daemon=True).start()

    def reset(self) -> None:
        """Reset both directions at once, without an orderly end."""
        self.is_over = True
        for end in (self._client, self._server):
            _reset(end)
        self._proxy.forget(self)

    def _forward(self, source: socket.socket, target: socket.socket, to_server: bool) -> None:
        is_first = to_server
        try:
            while data := source.recv(_CHUNK):
                if is_first and (seconds := self._proxy.delay_of_request()) > 0:
                    time.sleep(seconds)
                if is_first and _is_gone(source):
                    # The client has given up meanwhile: held bytes must not arrive after its deadline.
                    break
                if is_first:
                    # A connection that only shows whether the server is there sends nothing.
                    self._limit = self._proxy.take_limit()
                    is_first = False
                if to_server and self._limit is not None:
                    data = self._cut_at_limit(data, target)
                if self._proxy.may_pass(to_server, self) and data:
                    target.sendall(data)
        except (OSError, ValueError):
            # ValueError: the other direction's thread has closed the socket meanwhile.
            self.reset()
            return
        if not self._proxy.may_pass(to_server, self) and self.is_over:
            return
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if not to_server:
            self.reset()

    def _cut_at_limit(self, data: bytes, server: socket.socket) -> bytes:
        assert self._limit is not None
        passing, rest = data[: self._limit], data[self._limit :]
        self._limit -= len(passing)
        reaches_limit = self._limit == 0 and not self.is_held
        # Before they are sent: the server may answer at once.
        self.is_held = self.is_held or self._limit == 0
        if passing:
            server.sendall(passing)
        if reaches_limit:
            self._proxy.is_holding()
        return rest


def _is_gone(line: socket.socket) -> bool:
    watch = select.poll()
    watch.register(line, select.POLLRDHUP)
    return bool(watch.poll(0))


def _reset(line: socket.socket) -> None:
    with suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        # Wakes the thread that reads from it.
        line.shutdown(socket.SHUT_RDWR)
    line.close()
