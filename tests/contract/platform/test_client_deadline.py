import socket
import threading

import pytest

from tests.contract.platform.querying import CREDENTIALS, Jumping, client_of, failure, seconds_of_failure, send_query
from tests.contract.platform.raw_server import CERTIFICATE, Peer, RawServer, Reply, http
from tests.support.dead_address import (
    DEAD_HOST,
    connections_under_way,
    dead_address,
    refusing_address,
    resolving_to,
)
from tests.support.reconciling import ManualClock
from tests.support.waiting import eventually
from worker.adapters.platform.exchange import Exchange
from worker.domain.records.incoming import DeadlineExceeded, HttpError, Malformed, NotSent, Unreachable
from worker.domain.records.orders import IdKind

BODY = b'{"requestId":"1","trafficSts":"1"}'
LONG = 1000.0
"""Seconds; a deadline that is met by a clock's jump alone."""


def near_the_end(reply: Reply, clock: Jumping) -> Reply:
    """A reply that begins 0.4 s before the deadline `LONG`, however long the request took."""

    def begin(peer: Peer) -> None:
        clock.jump(LONG - 0.4)
        reply(peer)

    return begin


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(lambda peer: peer.hold(), id="no answer"),
        pytest.param(lambda peer: peer.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 9999), id="dripping head"),
        pytest.param(lambda peer: (peer.send(http(BODY, length=9999)), peer.drip(b" " * 9999)), id="dripping body"),
        pytest.param(
            lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + BODY), peer.hold()), id="a body that does not end"
        ),
        pytest.param(lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\nX-"), peer.hold()), id="half a head"),
        pytest.param(lambda peer: peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 99), id="interim answers"),
        pytest.param(lambda peer: (peer.send(http(b"", length=9, status="500 X")), peer.hold()), id="an error's body"),
    ],
)
def test_an_exchange_ends_at_its_deadline_whatever_is_read(reply: Reply) -> None:
    clock = Jumping()
    with RawServer(near_the_end(reply, clock)) as server:
        took = seconds_of_failure(server.url, DeadlineExceeded, deadline=LONG, clock=clock)
    # No reply ends by itself before.
    assert 0.35 <= took < 30
    assert server.connections == 1


def test_a_cut_connection_is_reset_so_that_nothing_is_delivered_later() -> None:
    seen: list[bool] = []
    clock = Jumping()
    with RawServer(near_the_end(lambda peer: seen.append(peer.wait_for_reset()), clock)) as server:
        failure(server.url, DeadlineExceeded, deadline=LONG, clock=clock)
    assert seen == [True]


def test_the_deadline_counts_from_the_start_of_the_grant() -> None:
    clock = Jumping()

    def reply(peer: Peer) -> None:
        clock.jump(LONG - 600.0)
        peer.hold()

    with RawServer(reply) as server:
        failure(server.url, DeadlineExceeded, deadline=LONG, ago=600.0, clock=clock)


@pytest.mark.parametrize("ago", [0.7, 1.0, 100.0])
def test_nothing_arrives_where_less_than_a_third_of_the_deadline_is_left(ago: float) -> None:
    with RawServer(http(BODY)) as server:
        failure(server.url, NotSent, deadline=1.0, ago=ago)
    assert (server.connections, server.requests) == (0, [])


@pytest.mark.parametrize("jump", [0.7 * LONG, 10 * LONG])
def test_nothing_is_sent_where_the_time_ran_out_while_connecting(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    clock, connect = Jumping(), socket.socket.connect

    def connect_for_long(line: socket.socket, address: tuple[str, int]) -> None:
        line.setblocking(True)
        connect(line, address)
        line.setblocking(False)
        clock.jump(jump)

    with RawServer(http(BODY)) as server:
        monkeypatch.setattr(socket.socket, "connect", connect_for_long)
        failure(server.url, NotSent, deadline=LONG, clock=clock)
        # Before the server stops listening.
        assert server.accepted.wait(30)
    assert (server.connections, server.requests) == (1, [])


def test_an_answer_that_was_complete_after_the_deadline_is_none() -> None:
    clock = Jumping()
    with RawServer(http(BODY)) as server:
        client = client_of(server.url, deadline=LONG, clock=clock)
        client.observe = lambda _: clock.jump(LONG + 1)
        with pytest.raises(DeadlineExceeded):
            client.query(credentials=CREDENTIALS, id_kind=IdKind.REQUEST_ID, ids=["1"], started=0.0)
    assert len(server.requests) == 1


def test_the_rest_of_a_request_is_not_written_after_the_deadline() -> None:
    clock = ManualClock(seconds=0.0)
    exchange = Exchange(clock=clock, started=0.0, deadline=3.0, connect_timeout=1.0)
    for clock.seconds in (2.0, 2.9):
        exchange.before_write()
    clock.seconds = 3.0
    with pytest.raises(DeadlineExceeded):
        exchange.before_write()


def test_a_first_byte_needs_a_third_of_the_deadline() -> None:
    clock = ManualClock(seconds=0.0)
    exchange = Exchange(clock=clock, started=0.0, deadline=3.0, connect_timeout=1.0)
    clock.seconds = 2.001
    with pytest.raises(NotSent):
        exchange.before_write()
    assert not exchange.sent


@pytest.mark.parametrize("starts", [[], ["exchange-deadline"]], ids=["the deadline", "the address"])
def test_without_a_thread_to_watch_the_deadline_or_to_find_the_address_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, starts: list[str]
) -> None:
    start = threading.Thread.start

    def start_some(thread: threading.Thread) -> None:
        if thread.name not in starts:
            raise RuntimeError("can't start new thread")
        start(thread)

    with RawServer(http(BODY)) as server:
        monkeypatch.setattr(threading.Thread, "start", start_some)
        failure(server.url, NotSent)
        monkeypatch.undo()
    assert server.connections == 0


def test_a_refused_connection_is_unreachable() -> None:
    with refusing_address() as (host, port):
        error = failure(f"http://{host}:{port}", Unreachable)
    assert "Connection refused" in str(error)


def unknown(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("resolve", [unknown, lambda *_, **__: []], ids=["no such name", "no address"])
def test_a_name_without_an_address_is_unreachable(monkeypatch: pytest.MonkeyPatch, resolve: object) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    failure("http://platform.invalid", Unreachable)


def test_a_resolver_that_hangs_is_given_up_with_the_time_for_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        may_end.wait(60)
        ended.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    failure("http://platform.invalid", Unreachable, connect_timeout=0.3)
    assert not ended.is_set()
    may_end.set()


def test_all_addresses_together_have_one_time_for_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    with dead_address() as port:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*[(DEAD_HOST, port)] * 100))
        took = seconds_of_failure("http://platform.invalid", Unreachable, connect_timeout=0.4)
    # With a time for each it would be 40 s.
    assert took < 20


def test_a_second_address_is_tried_where_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing_address(DEAD_HOST) as refusing, RawServer(http(BODY)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(refusing, ("127.0.0.1", port_of(server))))
        assert send_query("http://platform.invalid").said["1"][0].traffic_sts == "1"
    assert server.connections == 1


@pytest.mark.parametrize("dead_host", [DEAD_HOST, "::1"])
def test_a_query_is_sent_by_the_second_address_where_the_first_drops_connections(
    monkeypatch: pytest.MonkeyPatch, dead_host: str
) -> None:
    under_way: list[int] = []

    def reply(peer: Peer) -> None:
        under_way.append(connections_under_way(dead_port))
        peer.send(http(BODY))

    with dead_address(host=dead_host) as dead_port, RawServer(reply) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to((dead_host, dead_port), ("127.0.0.1", port_of(server))))
        assert send_query("http://platform.invalid", connect_timeout=3.0).said["1"][0].traffic_sts == "1"
    assert (server.connections, len(server.requests)) == (1, 1)
    # The other attempt was over before the request.
    assert under_way == [0]


def test_an_address_that_connects_at_once_is_the_only_one_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(http(BODY)) as first, RawServer(http(BODY)) as second:
        addresses = [("127.0.0.1", port_of(server)) for server in (first, second)]
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*addresses))
        send_query("http://platform.invalid")
    assert (first.connections, second.connections) == (1, 0)


def port_of(server: RawServer) -> int:
    return int(server.url.rpartition(":")[2])


def test_a_platform_with_an_untrusted_certificate_is_unreachable() -> None:
    with RawServer(http(BODY), tls=True) as server:
        error = failure(server.url, Unreachable)
    assert "self-signed certificate" in str(error)
    assert server.requests == []


def test_a_certificate_for_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(http(BODY), tls=True) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(("127.0.0.1", port_of(server))))
        error = failure("https://platform.invalid", Unreachable, ca_file=str(CERTIFICATE))
    assert "Hostname mismatch" in str(error)
    assert server.requests == []


def test_a_host_name_that_ends_with_a_dot_is_the_one_in_the_certificate() -> None:
    with RawServer(http(BODY), tls=True) as server:
        answer = send_query(f"https://localhost.:{port_of(server)}", ca_file=str(CERTIFICATE))
    assert answer.said["1"][0].traffic_sts == "1"


def test_a_query_over_tls_is_answered_or_fails_as_without() -> None:
    trusted = str(CERTIFICATE)
    with RawServer(http(BODY), tls=True) as server:
        assert send_query(server.url, ca_file=trusted).said["1"][0].traffic_sts == "1"
    clock = Jumping()
    with RawServer(near_the_end(lambda peer: peer.drip(http(BODY)), clock), tls=True) as server:
        failure(server.url, DeadlineExceeded, deadline=LONG, clock=clock, ca_file=trusted)
    with RawServer(lambda peer: peer.reset(), tls=True) as server:
        failure(server.url, Malformed, ca_file=trusted)
    with RawServer(http(b"", status="503 X"), tls=True) as server:
        failure(server.url, HttpError, ca_file=trusted)


@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_alone_is_made_as_for_a_query_and_nothing_is_sent(*, tls: bool) -> None:
    with RawServer(http(BODY), tls=tls) as server:
        assert client_of(server.url, ca_file=str(CERTIFICATE)).connect() is None
        if tls:
            untrusted = client_of(server.url).connect()
            assert isinstance(untrusted, Unreachable)
            assert "self-signed certificate" in str(untrusted)
        # The server accepts a connection some time after it was made.
        eventually(lambda: server.connections == 1 + tls, "the connections")
    assert server.requests == []
    with refusing_address() as (host, port):
        refused = client_of(f"http://{host}:{port}").connect()
    assert isinstance(refused, Unreachable)
    assert "Connection refused" in str(refused)


def test_a_handshake_that_is_not_answered_ends_with_the_time_for_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        took = seconds_of_failure(f"https://127.0.0.1:{listener.getsockname()[1]}", Unreachable, connect_timeout=0.3)
    assert took < 30


def test_an_invalid_host_name_is_unreachable() -> None:
    failure("http://a..b", Unreachable)
    failure("http://h:99999", Unreachable, connect_timeout=2.0)
