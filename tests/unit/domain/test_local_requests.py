"""Which requests come from this machine itself, and who may read metrics."""

from ipaddress import ip_address

import pytest

from worker.domain.callback_access import read_networks
from worker.domain.local_requests import FORWARDING_HEADERS, has_token, is_in_networks, is_local


def local(
    peer: str | None = "127.0.0.1",
    host: str | None = "localhost:8080",
    protocol: str = "HTTP/1.1",
    forwarded_by: tuple[str, ...] = (),
    proxies: int = 0,
) -> bool:
    return is_local(peer=peer, host=host, protocol=protocol, forwarded_by=forwarded_by, trusted_proxies=proxies)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]"])
def test_this_machine_is_local_by_each_of_its_names(peer: str, host: str) -> None:
    assert local(peer, host)


@pytest.mark.parametrize("peer", [None, "", "10.0.0.1", "192.0.2.1", "::ffff:10.0.0.1", "nonsense"])
def test_another_machine_is_not_whatever_host_it_names(peer: str | None) -> None:
    assert not local(peer)


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", "console.example", "console.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("evil.example/localhost", "localhost:8080:8080", "[::1", "[console.example]", "10.0.0.1", "user@localhost"),
    ],
)
def test_a_page_that_names_another_host_is_not_local(host: str | None) -> None:
    assert not local(host=host)


def test_what_a_proxy_hands_on_is_not_local() -> None:
    for header in FORWARDING_HEADERS:
        assert not local(forwarded_by=(header,))
    assert not local(proxies=1)
    # nginx without a line of its set-up.
    assert not local(protocol="HTTP/1.0")


TOKEN, OTHER = "a" * 24, "b" * 24


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {OTHER} "])
def test_a_token_opens(header: str) -> None:
    assert has_token(header, (TOKEN, OTHER))


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer 密"]
)
def test_anything_else_does_not(header: str | None) -> None:
    assert not has_token(header, (TOKEN, OTHER))
    assert not has_token(header, ())


def test_without_networks_no_address_is_in_them() -> None:
    networks = read_networks("10.0.0.0/8")
    assert is_in_networks(ip_address("10.1.2.3"), networks)
    assert not is_in_networks(ip_address("192.0.2.1"), networks)
    assert not is_in_networks(None, networks)
    assert not is_in_networks(ip_address("10.1.2.3"), ())
