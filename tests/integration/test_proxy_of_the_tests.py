"""The proxy that misbehaves on command: the fault tests depend on it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.proxy import Mode, Proxy
from tests.support.waiting import eventually

SHORT = 0.15
"""Seconds in which nothing must come; bytes that do come take a thousandth of it."""


class Echo:
    """A server that echoes what it receives, and keeps it."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

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
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.address) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def round_trip(line: socket.socket, data: bytes = b"a") -> bytes:
    """Send, and return what comes back within a short time; empty where nothing does."""
    line.sendall(data)
    return receive(line, seconds=5 if data else SHORT)


def receive(line: socket.socket, *, seconds: float = SHORT) -> bytes:
    line.settimeout(seconds)
    try:
        return line.recv(1024)
    except TimeoutError:
        return b""


def is_reset(line: socket.socket) -> bool:
    line.settimeout(5)
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def test_bytes_and_the_end_pass_in_both_directions(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as line:
        assert round_trip(line, b"one") == b"one"
        assert round_trip(line, b"two") == b"two"
        line.shutdown(socket.SHUT_WR)
        assert receive(line, seconds=5) == b""
    assert echo.received == b"onetwo"
    eventually(lambda: proxy.connections() == 0 and echo.ended == 1, "the end of the connection")


def test_what_is_held_passes_later(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as old:
        assert round_trip(old) == b"a"
        proxy.set(Mode.HOLD)
        old.sendall(b"b")
        with connect(proxy) as new:
            new.sendall(b"c")
            assert receive(old) == receive(new) == b""
            assert echo.received == b"a"
            proxy.set(Mode.PASS)
            assert receive(old, seconds=5) == b"b"
            assert receive(new, seconds=5) == b"c"


def test_what_is_held_never_arrives_where_nothing_may_be_late(echo: Echo) -> None:
    with Proxy(echo.address, delivers_late=False) as proxy, connect(proxy) as old:
        assert round_trip(old) == b"a"
        proxy.set(Mode.HOLD)
        old.sendall(b"b")
        with connect(proxy) as new:
            new.sendall(b"c")
            assert receive(new) == b""
            proxy.set(Mode.PASS)
            assert is_reset(old)
            assert is_reset(new)
        with connect(proxy) as next_line:
            assert round_trip(next_line, b"d") == b"d"
    assert echo.received == b"ad"


def test_the_answers_of_a_muted_server_are_lost(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as line:
        proxy.set(Mode.MUTE)
        line.sendall(b"a")
        eventually(lambda: echo.received == b"a", "the server to receive it")
        assert receive(line) == b""
        proxy.set(Mode.PASS)
        assert round_trip(line, b"b") == b"b"


def test_new_connections_are_refused_and_old_ones_stay(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert round_trip(old) == b"a"
        proxy.set(Mode.REFUSE)
        # It may be reset before it knows that it is connected.
        with suppress(ConnectionError, BrokenPipeError), connect(proxy) as new:
            assert is_reset(new)
        assert round_trip(old, b"b") == b"b"


def test_every_connection_is_cut_at_both_ends(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        assert round_trip(one) == round_trip(other) == b"a"
        assert proxy.connections() == 2
        proxy.cut()
        assert is_reset(one)
        assert is_reset(other)
    eventually(lambda: echo.ended == 2, "the server to see both ends")
    assert proxy.connections() == 0
    with connect(proxy) as line:
        assert round_trip(line, b"b") == b"b"


def test_connections_are_stranded_and_new_ones_work(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as old:
        assert round_trip(old) == b"a"
        proxy.strand()
        old.sendall(b"b")
        with connect(proxy) as new:
            assert round_trip(new, b"c") == b"c"
        assert receive(old) == b""
        assert echo.received == b"ac"


def test_of_one_connection_the_first_bytes_pass_and_the_rest_is_held(proxy: Proxy, echo: Echo) -> None:
    proxy.hold_after(3)
    assert not proxy.wait_until_holding(0)
    # Which of two connections is held depends on whose thread starts first: so the other one comes later.
    with connect(proxy) as line:
        line.sendall(b"abcdef")
        assert proxy.wait_until_holding(5)
        assert receive(line) == b""
        assert echo.received == b"abc"
        with connect(proxy) as other:
            assert round_trip(other, b"x") == b"x"
        proxy.cut()
        assert is_reset(line)
    assert echo.received == b"abcx"


def test_a_request_is_delayed_by_its_first_bytes_alone(proxy: Proxy) -> None:
    delays = iter([SHORT, 0.0])
    proxy.delay_requests(lambda: next(delays))
    for least in (SHORT, 0.0):
        with connect(proxy) as line:
            began = time.monotonic()
            assert round_trip(line) == b"a"
            assert time.monotonic() - began >= least
            # Called once a connection: the iterator would end here.
            assert round_trip(line, b"b") == b"b"


def test_a_request_that_was_given_up_in_its_delay_does_not_arrive(proxy: Proxy, echo: Echo) -> None:
    proxy.delay_requests(lambda: SHORT)
    with connect(proxy) as line:
        line.sendall(b"late")
    eventually(lambda: echo.ended == 1, "the server to see the connection's end")
    assert echo.received == b""
