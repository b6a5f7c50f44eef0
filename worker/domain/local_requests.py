"""Who may read metrics and health without a sign-in: a request of this machine itself, and one with a token."""

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address

from worker.domain.callback_access import Address, Network, is_one_of

FORWARDING_HEADERS = ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto")
"""With any of these a request has come through a proxy: some are set up to add the last three alone."""

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^\[\]:]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_BEARER = "bearer "


def is_local(
    *, peer: str | None, host: str | None, protocol: str, forwarded_by: Collection[str], trusted_proxies: int
) -> bool:
    """Whether a request was made on this machine, for this machine, by no proxy.

    `peer` is the other end of the connection, `host` the header Host: a page of another site that makes a browser here
    ask names that site. `forwarded_by` are those of the forwarding headers that it has. nginx adds none unless it is
    told to, and names us as host; an old one asks by HTTP/1.0 then, which no browser does, but one since 1.29.7 looks
    like a browser here. So nothing that is about an order may depend on this. Where proxies are trusted one stands
    before us, and nothing is local.
    """
    if trusted_proxies or forwarded_by or protocol == "HTTP/1.0" or not _is_loopback(peer or ""):
        return False
    named = _HOST.fullmatch(host or "")
    return named is not None and is_loopback_name((named["six"] or named["name"]).lower())


def has_token(authorization: str | None, tokens: Sequence[str]) -> bool:
    """Whether a header `Authorization: Bearer TOKEN` has one of the tokens."""
    given = authorization or ""
    return given.lower().startswith(_BEARER) and is_one_of(given[len(_BEARER) :].strip(), tokens)


def is_in_networks(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks; in none where there is none."""
    return address is not None and any(address in network for network in networks)


def is_loopback_name(name: str) -> bool:
    """Whether a host is this machine: `localhost`, or an address of loopback."""
    return name == "localhost" or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
