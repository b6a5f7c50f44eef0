"""Who may post callbacks: by token, and by address.

How long a sign-in lasts, who has to wait, and which form is ours.

Which requests come from this machine itself, and who may read metrics.

Who may act in the console.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest

from worker.domain.records.operators import Failures, Role, User, Viewer
from worker.domain.tokens_and_sign_ins import (
    FORWARDING_HEADERS,
    IDLE,
    LONGEST,
    MOST_BY_NAME,
    address_subject,
    begun,
    callback_path,
    client_address,
    digest_of,
    forgotten_before,
    form_token,
    has_token,
    is_allowed,
    is_foreign,
    is_form_token,
    is_in_networks,
    is_local,
    is_to_be_noted,
    is_token_of,
    lasts,
    name_subject,
    one_less,
    one_more,
    password_fault,
    read_networks,
    read_tokens,
    wait_until,
)

TOKEN, OTHER = "a" * 24, "b" * 24
NOW = datetime(2016, 1, 31, 10, tzinfo=UTC)
ANN = User(name="ann", password_hash="scrypt:1:1:1$salt$hash", role=Role.ACT)
SECOND = timedelta(seconds=1)


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
    for given in (OTHER, TOKEN[:-1], f"{TOKEN}a", "", "号\ud800"):
        assert not is_token_of(tokens, "default", given), given
    assert not is_token_of(tokens, "north", TOKEN)
    for given in (TOKEN, "no account has this token, whatever the path says"):
        assert not is_token_of(tokens, "south", given), given


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
        ("127.0.0.1", "", 1, None),
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


@pytest.mark.parametrize("password", ["correct horse", "密码密码密码密码密码密码", "x" * 1000])
def test_a_password_of_twelve_characters_or_more_is_taken(password: str) -> None:
    assert password_fault(password) is None


@pytest.mark.parametrize(
    "password", ["", "elevenchars", "x" * 1001, "correct\thorse", "correct horse\n", "correct horse\x7f"]
)
def test_a_short_one_and_one_with_control_characters_is_not(password: str) -> None:
    assert password_fault(password) == "cannot be taken; accepted: 12 to 1,000 characters, no control character"


def test_no_record_shows_a_hash() -> None:
    assert "scrypt" not in repr(ANN)


def test_a_sign_in_ends_idle_after_hours_and_with_its_user_or_password() -> None:
    sign_in = begun(ANN, NOW)
    assert lasts(sign_in, ANN, NOW)
    assert lasts(sign_in, ANN, NOW + IDLE - SECOND)
    assert not lasts(sign_in, ANN, NOW + IDLE)
    assert not lasts(sign_in, None, NOW)
    assert not lasts(sign_in, User(name="ann", password_hash="another", role=Role.ACT), NOW)
    assert sign_in.password_digest == digest_of(ANN.password_hash)
    seen = replace(sign_in, seen_at=NOW + LONGEST - SECOND)
    assert lasts(seen, ANN, NOW + LONGEST - SECOND)
    assert not lasts(seen, ANN, NOW + LONGEST)


def test_a_sign_in_from_before_a_clock_was_set_back_has_ended() -> None:
    assert lasts(begun(ANN, NOW), ANN, NOW - 59 * SECOND)
    assert not lasts(begun(ANN, NOW), ANN, NOW - 61 * SECOND)


def test_it_is_noted_once_a_minute_that_somebody_looks() -> None:
    sign_in = begun(ANN, NOW)
    assert not is_to_be_noted(sign_in, NOW + 59 * SECOND)
    assert is_to_be_noted(sign_in, NOW + 60 * SECOND)


def test_waits_grow_from_the_limit_on_and_end_at_fifteen_minutes() -> None:
    failures, waits = None, []
    for _ in range(12):
        failures = one_more(failures, MOST_BY_NAME, NOW)
        waits.append(None if failures.locked_until is None else (failures.locked_until - NOW).total_seconds() / 60)
    assert waits == [None] * 4 + [1, 2, 4, 8, 15, 15, 15, 15]


def test_a_failure_of_long_ago_counts_no_more() -> None:
    old = Failures(count=9, last_at=NOW)
    assert one_more(old, MOST_BY_NAME, NOW + timedelta(minutes=59)).count == 10
    assert one_more(old, MOST_BY_NAME, NOW + timedelta(minutes=61)).count == 1
    assert forgotten_before(NOW) == NOW - timedelta(hours=1)


def test_a_wait_is_over_when_it_has_passed_or_cannot_be() -> None:
    assert wait_until(None, NOW) is None
    assert wait_until(Failures(count=4, last_at=NOW), NOW) is None
    locked = Failures(count=5, last_at=NOW, locked_until=NOW + timedelta(minutes=1))
    assert wait_until(locked, NOW) == locked.locked_until
    assert wait_until(locked, NOW + timedelta(minutes=1)) is None
    # A clock was set back by an hour since.
    assert wait_until(locked, NOW - timedelta(hours=1)) is None


def test_a_try_that_succeeds_is_taken_back_and_what_failed_stays() -> None:
    assert one_less(Failures(count=1, last_at=NOW)) is None
    left = one_less(Failures(count=20, last_at=NOW, locked_until=NOW + SECOND))
    assert left == Failures(count=19, last_at=NOW)


def test_names_and_addresses_count_as_a_bounded_number_of_subjects() -> None:
    assert len({name_subject(f"name-{number}") for number in range(200_000)}) <= 65_536
    assert name_subject("ann") == name_subject("ann") != name_subject("li")
    assert address_subject(ip_address("198.51.100.7")) != address_subject(ip_address("198.51.100.8"))
    assert address_subject(ip_address("2001:db8::1")) == address_subject(ip_address("2001:db8::ffff"))
    assert address_subject(ip_address("2001:db8::1")) != address_subject(ip_address("2001:db8:0:1::1"))
    assert len(address_subject(None)) <= 16


def test_a_form_is_ours_by_the_secret_and_its_purpose() -> None:
    token = form_token("secret", "console")
    assert is_form_token(token, "secret", "console")
    assert not is_form_token(token, "another", "console")
    assert not is_form_token(token, "secret", "sign-in")
    assert not is_form_token("", "secret", "console")
    assert not is_form_token("密\ud800", "secret", "console")


@pytest.mark.parametrize(
    ("fetch_site", "origin", "foreign"),
    [
        ("same-origin", "https://rewritten.example", False),
        ("none", None, False),
        ("cross-site", "https://console.example", True),
        ("same-site", "https://other.example", True),
        (None, None, False),
        (None, "https://Console.example", False),
        (None, "https://console.example:8443", True),
        (None, "https://evil.example", True),
        (None, "null", True),
        (None, "http://[", True),
    ],
)
def test_another_site_is_known_by_what_the_browser_says(
    fetch_site: str | None, origin: str | None, foreign: bool
) -> None:
    assert is_foreign(fetch_site=fetch_site, origin=origin, host="console.example") is foreign


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


def test_only_who_has_signed_in_with_the_role_to_act_may_act() -> None:
    assert Viewer(name="ann", role=Role.ACT).may_act
    assert not Viewer(name="ann", role=Role.READ).may_act
    assert not Viewer(name=None, role=Role.ACT).may_act
