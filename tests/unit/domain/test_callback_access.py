"""Who may post callbacks: by token, and by address."""

from ipaddress import ip_address, ip_network

import pytest

from worker.domain.callback_access import (
    callback_path,
    client_address,
    is_allowed,
    is_token_of,
    read_networks,
    read_tokens,
)

TOKEN, OTHER = "a" * 24, "b" * 24


@pytest.mark.parametrize(
    ("text", "tokens"),
    [(TOKEN, (TOKEN,)), (f"{TOKEN} {OTHER}", (TOKEN, OTHER)), (f" {'x' * 256}\n", ("x" * 256,)), ("Aa0._~-" * 4,) * 2],
)
def test_an_account_has_one_token_or_two(text: str, tokens: tuple[str, ...] | str) -> None:
    assert read_tokens(text) == (tokens if isinstance(tokens, tuple) else (tokens,))


@pytest.mark.parametrize("text", ["", " ", "a" * 23, "a" * 257, f"{TOKEN} {TOKEN} {TOKEN}", f"{TOKEN}/", f"{TOKEN}é"])
def test_other_tokens_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="holds ") as raised:
        read_tokens(text)
    assert TOKEN not in str(raised.value)


def test_a_token_opens_the_path_of_its_own_account_alone() -> None:
    tokens = {"default": (TOKEN,), "north": (OTHER, "c" * 24)}
    assert is_token_of(tokens, "default", TOKEN)
    assert is_token_of(tokens, "north", OTHER)
    assert is_token_of(tokens, "north", "c" * 24)
    for account, given in [
        ("default", OTHER),
        ("north", TOKEN),
        ("default", TOKEN[:-1]),
        ("default", f"{TOKEN}a"),
        ("default", ""),
        ("default", "号\ud800"),
        ("south", TOKEN),
        ("south", "no account has this token, whatever the path says"),
    ]:
        assert not is_token_of(tokens, account, given), (account, given)


def test_the_path_names_account_and_token() -> None:
    assert callback_path("default", TOKEN) == f"/callbacks/default/{TOKEN}"
    assert callback_path("号/?", TOKEN) == f"/callbacks/%E5%8F%B7%2F%3F/{TOKEN}"


def test_networks_are_read_with_commas_or_blanks_and_in_both_families() -> None:
    assert read_networks("203.0.113.7, 198.51.100.9/24  2001:db8::/32,::1") == (
        ip_network("203.0.113.7/32"),
        ip_network("198.51.100.0/24"),
        ip_network("2001:db8::/32"),
        ip_network("::1/128"),
    )


def test_networks_of_ipv4_that_are_written_in_ipv6_are_those_of_ipv4() -> None:
    assert read_networks("::ffff:203.0.113.7 ::ffff:10.0.0.0/104 ::ffff:0:0/90") == (
        ip_network("203.0.113.7/32"),
        ip_network("10.0.0.0/8"),
        ip_network("::fffe:0:0/90", strict=False),
    )


@pytest.mark.parametrize(("text", "fault"), [("", "no address"), (" , ", "no address"), ("10.0.0.1 here", "neither")])
def test_other_lists_of_addresses_are_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_networks(text)


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("203.0.113.7", None, 0, "203.0.113.7"),
        ("203.0.113.7", "10.9.9.9", 0, "203.0.113.7"),
        ("::ffff:203.0.113.7", None, 0, "203.0.113.7"),
        ("2001:db8::1", None, 0, "2001:db8::1"),
        ("", None, 0, None),
        (None, None, 0, None),
        ("127.0.0.1", "203.0.113.7", 1, "203.0.113.7"),
        ("127.0.0.1", "forged, 203.0.113.7", 1, "203.0.113.7"),
        ("127.0.0.1", "forged, 203.0.113.7 ,10.0.0.2", 2, "203.0.113.7"),
        ("127.0.0.1", "203.0.113.7:4711", 1, "203.0.113.7"),
        ("127.0.0.1", "[2001:db8::1]:4711", 1, "2001:db8::1"),
        ("127.0.0.1", "[2001:db8::1]", 1, "2001:db8::1"),
        ("127.0.0.1", "203.0.113.7", 2, None),
        ("127.0.0.1", "203.0.113.7,", 1, None),
        ("127.0.0.1", "unknown", 1, None),
        ("127.0.0.1", None, 1, None),
    ],
)
def test_the_address_is_the_one_that_the_outermost_trusted_proxy_saw(
    peer: str | None, forwarded: str | None, proxies: int, address: str | None
) -> None:
    assert client_address(peer, forwarded, proxies) == (None if address is None else ip_address(address))


def test_only_listed_networks_are_allowed_and_without_a_list_all() -> None:
    listed = read_networks("203.0.113.0/24 2001:db8::/32")
    assert is_allowed(ip_address("203.0.113.9"), listed)
    assert is_allowed(ip_address("2001:db8::9"), listed)
    assert not is_allowed(ip_address("203.0.114.9"), listed)
    assert not is_allowed(ip_address("::1"), listed)
    assert is_allowed(ip_address("::1"), ())
