"""The proxy that misbehaves on command: a fault that it does not make would hide what the fault tests look for."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from tests.support.proxy import Mode, Proxy
from tests.support.waiting import eventually

SHORT = 0.15
"""Seconds in which nothing must come."""


class Echo:
    """A server that echoes what it receives, and keeps it."""

    def __init__(self, listener: socket.socket) -> None:
        self.received = b""
        self.ended = 0
        self._listener = listener
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line, suppress(OSError):
            while data := line.recv(1024):
                self.received += data
                line.sendall(data)
        self.ended += 1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


@pytest.fixture
def echo(listener: socket.socket) -> Echo:
    return Echo(listener)


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[Proxy]:
    with Proxy(listener.getsockname()) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def answer(line: socket.socket, data: bytes = b"", seconds: float = 60) -> bytes:
    """Send, and return what comes back: nothing where the connection is reset, or nothing comes in time."""
    line.settimeout(seconds)
    try:
        line.sendall(data)
        return line.recv(1024)
    except (TimeoutError, ConnectionError):
        return b""


@pytest.mark.parametrize(("mode", "arrives"), [(Mode.HOLD, b"a"), (Mode.MUTE, b"ab"), (Mode.REFUSE, b"ab")])
def test_a_mode_keeps_back_what_it_should_of_old_and_new_connections(
    proxy: Proxy, echo: Echo, mode: Mode, arrives: bytes
) -> None:
    with connect(proxy) as old:
        assert answer(old, b"a") == b"a"
        proxy.set(mode)
        if mode is Mode.REFUSE:
            assert answer(old, b"b") == b"b"
        else:
            assert answer(old, b"b", SHORT) == b""
        eventually(lambda: echo.received == arrives, "what passes")
        # A refused one may be reset before it knows that it is connected.
        with suppress(ConnectionError), connect(proxy) as new:
            assert answer(new, b"c", SHORT) == b""
        proxy.set(Mode.PASS)
        assert answer(old, b"" if mode is Mode.HOLD else b"d") != b""


def test_what_is_held_never_arrives_where_nothing_may_be_late(listener: socket.socket, echo: Echo) -> None:
    with Proxy(listener.getsockname(), delivers_late=False) as proxy, connect(proxy) as old:
        assert answer(old, b"a") == b"a"
        proxy.set(Mode.HOLD)
        old.sendall(b"b")
        with connect(proxy) as new:
            assert answer(new, b"c", SHORT) == b""
            # The proxy's thread may be late.
            eventually(lambda: proxy.held == 1, "the new connection at the proxy")
            proxy.set(Mode.PASS)
            assert answer(old) == answer(new) == b""
        with connect(proxy) as next_line:
            assert answer(next_line, b"d") == b"d"
    assert echo.received == b"ad"


def test_connections_are_stranded_or_cut_at_both_ends_and_new_ones_work(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as stranded, connect(proxy) as cut:
        assert (answer(stranded, b"a"), answer(cut, b"b")) == (b"a", b"b")
        proxy.strand()
        with connect(proxy) as new:
            assert answer(new, b"c") == b"c"
            assert answer(stranded, b"x", SHORT) == b""
            assert b"x" not in echo.received
            proxy.cut()
            eventually(lambda: echo.ended == 3, "the server to see each end")
            assert answer(cut) == answer(new) == b""


def test_of_one_connection_the_first_bytes_pass_and_the_rest_is_held(proxy: Proxy, echo: Echo) -> None:
    proxy.hold_after(3)
    connect(proxy).close()
    eventually(lambda: echo.ended == 1, "the server to see the end of what sends nothing")
    assert not proxy.wait_until_holding(0)
    with connect(proxy) as line:
        line.sendall(b"abcdef")
        assert proxy.wait_until_holding(60)
        assert answer(line, seconds=SHORT) == b""
        eventually(lambda: echo.received == b"abc", "the first bytes")
        proxy.cut()
        eventually(lambda: echo.ended == 2, "the server to see the end")
    assert echo.received == b"abc"


def test_the_first_bytes_of_a_request_are_late_and_one_that_was_given_up_does_not_arrive(
    proxy: Proxy, echo: Echo
) -> None:
    has_closed = threading.Event()
    delays: list[Callable[[], float]] = [lambda: SHORT, lambda: float(not has_closed.wait(60))]
    proxy.delay_requests(lambda: delays.pop(0)())
    with connect(proxy) as line:
        began = time.monotonic()
        assert answer(line, b"a") == b"a"
        assert time.monotonic() - began >= SHORT
        # Called once a connection: the iterator would end here.
        assert answer(line, b"b") == b"b"
    with connect(proxy) as line:
        line.sendall(b"late")
    has_closed.set()
    eventually(lambda: echo.ended == 2, "the server to see each end")
    assert echo.received == b"ab"
