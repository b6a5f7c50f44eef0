"""Who may post callbacks: the token in the path, and the address that a request comes from."""

import hmac
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

TOKEN_RULE = "24 to 256 ASCII letters, digits, dots, dashes, underscores and tildes; two of them, with a blank between"
ADDRESS_RULE = (
    "IPv4 and IPv6 addresses and networks, with commas or blanks between, such as 203.0.113.7, 198.51.100.0/24"
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Characters that no URL, no proxy and no log writes in another way.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{24,256}")
_MOST_TOKENS = 2
# What a proxy may write for an address: with a port, IPv6 in brackets.
_WITH_PORT = re.compile(r"\[(?P<six>[^\[\]]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+):[0-9]{1,5}", re.ASCII)
_BITS_BEFORE_IPV4 = 96
_NO_TOKEN = "no account has this token, whatever the path says"


def read_tokens(text: str) -> tuple[str, ...]:
    """The tokens of an account: one, or two while one replaces the other. Raises ValueError, without the text."""
    tokens = tuple(text.split())
    if not 1 <= len(tokens) <= _MOST_TOKENS:
        raise ValueError(f"holds {len(tokens)} tokens")
    if not all(map(_TOKEN.fullmatch, tokens)):
        raise ValueError("holds a token that is too short or too long, or has other characters")
    return tokens


def is_token_of(tokens: Mapping[str, Sequence[str]], account: str, given: str) -> bool:
    """Whether an account has a token; `tokens` are those of each account.

    Every token is compared, each in constant time: how long it takes says neither how much of a guess is right, nor
    whether there is such an account.
    """
    return is_one_of(given, tokens.get(account, (_NO_TOKEN,))) and account in tokens


def is_one_of(given: str, tokens: Sequence[str]) -> bool:
    """Whether a text is one of these tokens: each is compared, in constant time, whichever it is."""
    # Bytes: text of other characters than ASCII cannot be compared so.
    guess = given.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(guess, token.encode()) for token in tokens]
    return any(matches)


def callback_path(account: str, token: str) -> str:
    """The path that the platform posts an account's callbacks to."""
    return f"/callbacks/{quote(account, safe='')}/{token}"


def read_networks(text: str) -> tuple[Network, ...]:
    """The networks that a text lists; an address is a network of its own. Raises ValueError."""
    networks: list[Network] = []
    for word in text.replace(",", " ").split():
        try:
            networks.append(_unmapped_network(ip_network(word, strict=False)))
        except ValueError:
            raise ValueError("holds a word that is neither an address nor a network") from None
    if not networks:
        raise ValueError("names no address")
    return tuple(networks)


def client_address(peer: str | None, forwarded: str | None, trusted_proxies: int) -> Address | None:
    """The address that a request comes from; None where it cannot be read.

    `peer` is the other end of the connection, `forwarded` all X-Forwarded-For headers joined by commas. Each of the
    trusted proxies adds one entry at the right; what stands left of them is whatever the client wrote.
    """
    if trusted_proxies == 0:
        return _read_address(peer or "")
    entries = (forwarded or "").split(",")
    return _read_address(entries[-trusted_proxies]) if len(entries) >= trusted_proxies else None


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address may post; with no networks every address may."""
    return not networks or any(address in network for network in networks)


def _read_address(text: str) -> Address | None:
    text = text.strip()
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((with_port["six"] or with_port["four"]) if with_port else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _unmapped_network(network: Network) -> Network:
    """A network of IPv4 addresses that is written in IPv6 (`::ffff:203.0.113.0/120`) as one of IPv4."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _BITS_BEFORE_IPV4:
        return network
    return IPv4Network((mapped, network.prefixlen - _BITS_BEFORE_IPV4))
