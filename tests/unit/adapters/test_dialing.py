"""The order in which the addresses of a name are tried, and what is left of those that lost."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.clocks import JumpingClock
from tests.support.dead_address import (
    DEAD_HOST,
    connections_under_way,
    dead_address,
    refusing_address,
    resolving_to,
)
from worker.adapters.clock import Deadline, HostClock
from worker.adapters.http_deadline_and_size import dial


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_addresses_are_tried_one_after_the_other_and_none_that_failed_is_left_open(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []
    with dead_address() as dead_port:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to((DEAD_HOST, dead_port), listener.getsockname()))
        with dial("receiver.invalid", 80, Deadline(HostClock(), 1.0), made.append) as line:
            assert line.getpeername() == listener.getsockname()
            assert 0 < (line.gettimeout() or 0) <= 1.0
            assert made == [made[0], line]
            assert made[0].fileno() == -1
            assert connections_under_way(dead_port) == 0


def test_what_follows_the_connection_has_the_time_that_connecting_has_left(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, connect = JumpingClock(), socket.socket.connect

    def connect_slowly(line: socket.socket, address: tuple[str, int]) -> None:
        connect(line, address)
        clock.jump(50.0)

    monkeypatch.setattr(socket.socket, "connect", connect_slowly)
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to(listener.getsockname()))
    with dial("receiver.invalid", 80, Deadline(clock, 60.0)) as line:
        assert 0 < (line.gettimeout() or 0) <= 10.0


def test_where_every_address_fails_the_last_error_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        refusing = [stack.enter_context(refusing_address()) for _ in range(5)]
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*refusing))
        clock = HostClock()
        started = clock.boot()
        with pytest.raises(ConnectionRefusedError):
            dial("receiver.invalid", 80, Deadline(clock, 60.0))
    assert clock.boot() - started < 30


def test_an_address_of_which_this_machine_lacks_the_protocol_is_passed_over(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolving_to(listener.getsockname())()
    strange = (socket.AF_INET, socket.SOCK_STREAM, 99, "", ("127.0.0.1", 1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [strange, *found])
    with dial("receiver.invalid", 80, Deadline(HostClock(), 60.0)) as line:
        assert line.getpeername() == listener.getsockname()
