"""Decide who may do what over HTTP.

*Callbacks* need an account's token in the path, and an allowed address.

*Metrics and health* need no sign-in. The request must come from this machine itself, or carry a token.

*The console* needs a sign-in. This module decides how long a sign-in lasts, how long someone who guesses passwords has
to wait, and whether a form is ours. The durations follow OWASP's cheat sheets on sessions and on authentication.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, urlsplit

from worker.domain.records.operators import Failures, SignIn, User
from worker.domain.records.sentences import Fault, Sentence, _
from worker.domain.wire.fields import is_fit

TOKEN_RULE = _(
    "24 to 256 ASCII letters, digits, dots, dashes, underscores and tildes; two of them, with a blank between"
)
ADDRESS_RULE = _(
    "IPv4 and IPv6 addresses and networks, with commas or blanks between, such as 203.0.113.7, 198.51.100.0/24"
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A token has only characters that URLs, proxies and logs leave unchanged.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{24,256}")
_MOST_TOKENS = 2
# An address with a port, as some proxies write it. An IPv6 address with a port is in brackets.
_WITH_PORT = re.compile(r"\[(?P<six>[^\[\]]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+):[0-9]{1,5}", re.ASCII)
_BITS_BEFORE_IPV4 = 96
_NO_TOKEN = "no account has this token, whatever the path says"
FORWARDING_HEADERS = ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto")
"""Headers that show that a request came through a proxy. Some proxies add only the last three."""

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^\[\]:]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_BEARER = "bearer "
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1_000
PASSWORD_RULE = _("%(least)s to %(most)s characters, no control character", SHORTEST_PASSWORD, f"{LONGEST_PASSWORD:,}")
IDLE = timedelta(minutes=30)
"""A sign-in ends after this time without a request for a page."""
LONGEST = timedelta(hours=12)
"""A sign-in ends after this time in any case."""
SEEN_EVERY = timedelta(minutes=1)
"""The use of a sign-in is recorded at most once in this time."""

MOST_BY_NAME = 5
"""After this many failed sign-ins in a row with one name, the next sign-in with this name has to wait."""
MOST_BY_ADDRESS = 20
"""After this many failed sign-ins from one address, the next sign-in from this address has to wait.

The limit is higher than for a name, because colleagues may share an address.
"""

# Failed sign-ins are counted by the first digits of a hash. With this many digits, two users hardly ever share a count,
# and the table of counts stays small whatever names are tried.
_BUCKET_DIGITS = 4
_NETWORK_BITS = 64
_FORGOTTEN_AFTER = timedelta(hours=1)
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(minutes=15)
_MOST_DOUBLINGS = 10


def read_tokens(text: str) -> tuple[str, ...]:
    """Read an account's tokens: one, or two while one replaces the other. Raises ValueError that quotes no token."""
    tokens = tuple(text.split())
    if not 1 <= len(tokens) <= _MOST_TOKENS:
        raise Fault("holds %(count)s tokens", len(tokens))
    if not all(map(_TOKEN.fullmatch, tokens)):
        raise Fault("holds a token that is too short or too long, or has other characters")
    return tokens


def is_token_of(tokens: Mapping[str, Sequence[str]], account: str, given: str) -> bool:
    """Whether an account has the token `given`. `tokens` has the tokens of each account.

    Each token is compared in constant time, and an unknown account also leads to a comparison. So the duration does not
    show how much of a guess is right, nor whether the account exists.
    """
    return is_one_of(given, tokens.get(account, (_NO_TOKEN,))) and account in tokens


def is_one_of(given: str, tokens: Sequence[str]) -> bool:
    """Whether a text is one of these tokens. It is always compared with each of them, in constant time."""
    # `compare_digest` refuses text with other characters than ASCII, so bytes are compared.
    guess = given.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(guess, token.encode()) for token in tokens]
    return any(matches)


def callback_path(account: str, token: str) -> str:
    """The path to which the platform posts an account's callbacks."""
    return f"/callbacks/{quote(account, safe='')}/{token}"


def read_networks(text: str) -> tuple[Network, ...]:
    """Read a list of networks. A single address is a network of its own. Raises ValueError."""
    networks: list[Network] = []
    for word in text.replace(",", " ").split():
        try:
            networks.append(_unmapped_network(ip_network(word, strict=False)))
        except ValueError:
            raise Fault("holds a word that is neither an address nor a network") from None
    if not networks:
        raise Fault("names no address")
    return tuple(networks)


def client_address(peer: str | None, forwarded: str | None, trusted_proxies: int) -> Address | None:
    """Return the address that a request comes from; None if it cannot be read.

    `peer` is the other end of the connection. `forwarded` has all X-Forwarded-For headers, joined by commas. Each
    trusted proxy adds one entry at the right end. The client may have invented all entries to the left of these.
    """
    if trusted_proxies == 0:
        return _read_address(peer or "")
    entries = (forwarded or "").split(",")
    return _read_address(entries[-trusted_proxies]) if len(entries) >= trusted_proxies else None


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address may post callbacks. Without networks, every address may."""
    return not networks or is_in_networks(address, networks)


def _read_address(text: str) -> Address | None:
    text = text.strip()
    with_port = _WITH_PORT.fullmatch(text)
    return _address((with_port["six"] or with_port["four"]) if with_port else text)


def _address(text: str) -> Address | None:
    """Read an address without a port; None if it is not one. IPv4 that is written as IPv6 becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _unmapped_network(network: Network) -> Network:
    """Return the network. An IPv4 network that is written as IPv6, such as `::ffff:203.0.113.0/120`, becomes IPv4."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _BITS_BEFORE_IPV4:
        return network
    return IPv4Network((mapped, network.prefixlen - _BITS_BEFORE_IPV4))


def is_local(
    *, peer: str | None, host: str | None, protocol: str, forwarded_by: Collection[str], trusted_proxies: int
) -> bool:
    """Whether a request comes from this machine, is for this machine, and came through no proxy.

    `peer` is the other end of the connection. `host` is the Host header: if a page of another site makes a local
    browser send the request, the header names that site. `forwarded_by` are the forwarding headers of the request. If
    proxies are trusted, a proxy is in front of us, so no request is local.

    Some proxies cannot be recognised. By default, nginx adds no forwarding header, and its Host header names us. Before
    1.29.7, nginx by default uses HTTP/1.0, which no browser does. Since 1.29.7, its requests look like a browser's. So
    nothing about orders may depend on this function.
    """
    if trusted_proxies or forwarded_by or protocol == "HTTP/1.0" or not _is_loopback(peer or ""):
        return False
    named = _HOST.fullmatch(host or "")
    return named is not None and is_loopback_name((named["six"] or named["name"]).lower())


def has_token(authorization: str | None, tokens: Sequence[str]) -> bool:
    """Whether the header `Authorization: Bearer TOKEN` has one of these tokens."""
    given = authorization or ""
    return given.lower().startswith(_BEARER) and is_one_of(given[len(_BEARER) :].strip(), tokens)


def is_in_networks(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks. Without an address, return False."""
    return address is not None and any(address in network for network in networks)


def is_loopback_name(name: str) -> bool:
    """Whether a host name means this machine: `localhost`, or a loopback address."""
    return name == "localhost" or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    address = _address(text)
    return address is not None and address.is_loopback


def password_fault(password: str) -> Sentence | None:
    """Return why a text cannot be a password; None if it can."""
    is_password = is_fit(password, LONGEST_PASSWORD, SHORTEST_PASSWORD)
    return None if is_password else _("cannot be taken; accepted: %(rule)s", PASSWORD_RULE)


def digest_of(secret: str) -> str:
    """The SHA-256 of a token or of a password hash. It is stored in their place, because nobody can sign in with it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def begun(user: User, now: datetime) -> SignIn:
    """Return the sign-in of a user that begins at this time."""
    return SignIn(user_name=user.name, password_digest=digest_of(user.password_hash), created_at=now, seen_at=now)


def lasts(sign_in: SignIn, user: User | None, now: datetime) -> bool:
    """Whether a sign-in is still valid. `user` is the user who has the sign-in's name now; None if nobody has it.

    A changed password ends the sign-in.

    A sign-in that begins ahead of `now` was written before a clock was set back. It is not valid, because its age is
    unknown.
    """
    is_same = user is not None and hmac.compare_digest(digest_of(user.password_hash), sign_in.password_digest)
    is_recent = now - sign_in.seen_at < IDLE and now - sign_in.created_at < LONGEST
    return is_same and is_recent and sign_in.created_at - now < SEEN_EVERY


def is_to_be_noted(sign_in: SignIn, now: datetime) -> bool:
    """Whether it is time to record the use of a sign-in again."""
    return abs(now - sign_in.seen_at) >= SEEN_EVERY


def name_subject(name: str) -> str:
    """The key of the count of failed sign-ins with a name.

    All names, of users or not, share a limited number of keys. So a wait does not show whether a user exists.
    """
    return f"name:{digest_of(name)[:_BUCKET_DIGITS]}"


def address_subject(address: Address | None) -> str:
    """The key of the count of failed sign-ins from an address.

    All addresses of an IPv6 /64 network count as one, because one host may have the whole network.
    """
    if isinstance(address, IPv6Address):
        return f"from:{digest_of(str(IPv6Network((address, _NETWORK_BITS), strict=False)))[:_BUCKET_DIGITS]}"
    return f"from:{digest_of(str(address))[:_BUCKET_DIGITS]}"


def wait_until(failures: Failures | None, now: datetime) -> datetime | None:
    """Return when the next sign-in may be tried; None if it may be tried now.

    If `locked_until` is further ahead than the longest wait, it was written before a clock was set back. Then the next
    sign-in need not wait.
    """
    until = None if failures is None else failures.locked_until
    return until if until is not None and now < until <= now + _LONGEST_WAIT else None


def one_more(failures: Failures | None, most: int, now: datetime) -> Failures:
    """Return the count with one more failure.

    From `most` failures on, the next sign-in has to wait. Each further failure doubles the wait, up to 15 minutes.
    """
    is_recent = failures is not None and abs(now - failures.last_at) < _FORGOTTEN_AFTER
    count = failures.count + 1 if failures is not None and is_recent else 1
    doublings = min(count - most, _MOST_DOUBLINGS)
    wait = None if doublings < 0 else min(_FIRST_WAIT * 2**doublings, _LONGEST_WAIT)
    return Failures(count=count, last_at=now, locked_until=None if wait is None else now + wait)


def one_less(failures: Failures) -> Failures | None:
    """Return the count of an address with one failure less, and without a wait; None if no failure is left.

    This is for a sign-in that was counted as a failure when it began, and then succeeded.
    """
    if failures.count <= 1:
        return None
    return Failures(count=failures.count - 1, last_at=failures.last_at)


def forgotten_before(now: datetime) -> datetime:
    """The time before which failures no longer count. A count whose last failure was earlier is forgotten."""
    return now - _FORGOTTEN_AFTER


def form_token(secret: str, purpose: str) -> str:
    """The token that a form of ours carries. Computing it needs the secret, which is in the user's cookie."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), purpose.encode(), "sha256").hexdigest()


def is_form_token(given: str, secret: str, purpose: str) -> bool:
    """Whether a form carries the right token. The comparison takes constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), form_token(secret, purpose).encode())


def is_foreign(*, fetch_site: str | None, origin: str | None, host: str) -> bool:
    """Whether a form came from another site, according to the browser's Sec-Fetch-Site header.

    If that header is missing or says anything else, the site in the Origin header is compared with `host`.
    """
    if fetch_site in ("same-origin", "none"):
        return False
    if fetch_site == "cross-site":
        return True
    try:
        return origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:
        return True
