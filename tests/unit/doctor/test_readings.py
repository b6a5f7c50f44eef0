"""A reading ends, whatever it reads from."""

import socket
import threading
from collections.abc import Iterator

import pytest

from worker.doctor.readings import read_broker, resolve, start_reading


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_what_a_reading_returns_or_raises_is_passed_on() -> None:
    assert start_reading(lambda: 5, seconds=10)() == 5
    with pytest.raises(ZeroDivisionError):
        start_reading(lambda: 1 // 0, seconds=10)()


def test_a_reading_that_does_not_end_is_abandoned() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match=r"^no answer within 0\.05 s$"):
        start_reading(never.wait, seconds=0.05)()
    never.set()


def test_a_readings_own_timeout_keeps_its_message() -> None:
    def read() -> None:
        raise TimeoutError("the third server is slow")

    with pytest.raises(TimeoutError, match="the third server is slow"):
        start_reading(read, seconds=10)()


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_broker_that_never_answers_is_given_up(kind: str, silent_port: int) -> None:
    with pytest.raises(Exception, match=r"(?i)timed? ?out"):
        read_broker(f"{kind}://127.0.0.1:{silent_port}/0", seconds=0.2)


def test_an_address_is_its_own_and_localhost_is_this_machine() -> None:
    assert resolve("127.0.0.1") == "127.0.0.1"
    assert resolve("localhost") in {"127.0.0.1", "::1"}
