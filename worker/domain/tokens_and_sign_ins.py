"""Who may do what over HTTP.

*Callbacks* are posted with the token in the path, from an address that is allowed.

*Metrics and health* are read without a sign-in by a request of this machine itself, and by one with a token.

*The console* takes a sign-in: how long it lasts, when somebody who guesses has to wait, and which form is ours. The
lengths are those that OWASP's cheat sheets on sessions and on authentication name.
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

# Characters that no URL, no proxy and no log writes in another way.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{24,256}")
_MOST_TOKENS = 2
# What a proxy may write for an address: with a port, IPv6 in brackets.
_WITH_PORT = re.compile(r"\[(?P<six>[^\[\]]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+):[0-9]{1,5}", re.ASCII)
_BITS_BEFORE_IPV4 = 96
_NO_TOKEN = "no account has this token, whatever the path says"
FORWARDING_HEADERS = ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto")
"""With any of these a request has come through a proxy: some are set up to add the last three alone."""

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^\[\]:]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_BEARER = "bearer "
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1_000
PASSWORD_RULE = _("%(least)s to %(most)s characters, no control character", SHORTEST_PASSWORD, f"{LONGEST_PASSWORD:,}")
IDLE = timedelta(minutes=30)
"""After so long without a page a sign-in ends."""
LONGEST = timedelta(hours=12)
"""After so long every sign-in ends."""
SEEN_EVERY = timedelta(minutes=1)
"""It is noted so often at most that somebody looks."""

MOST_BY_NAME = 5
"""So many sign-ins of one name may fail in a row; from then on the next one has to wait."""
MOST_BY_ADDRESS = 20
"""The same of one address, which colleagues may share."""

# Enough that two users hardly ever share one, and few enough that the table stays small whatever names are tried.
_BUCKET_DIGITS = 4
_NETWORK_BITS = 64
_FORGOTTEN_AFTER = timedelta(hours=1)
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(minutes=15)
_MOST_DOUBLINGS = 10


def read_tokens(text: str) -> tuple[str, ...]:
    """The tokens of an account: one, or two while one replaces the other. Raises ValueError, without the text."""
    tokens = tuple(text.split())
    if not 1 <= len(tokens) <= _MOST_TOKENS:
        raise Fault("holds %(count)s tokens", len(tokens))
    if not all(map(_TOKEN.fullmatch, tokens)):
        raise Fault("holds a token that is too short or too long, or has other characters")
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
            raise Fault("holds a word that is neither an address nor a network") from None
    if not networks:
        raise Fault("names no address")
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
    return not networks or is_in_networks(address, networks)


def _read_address(text: str) -> Address | None:
    text = text.strip()
    with_port = _WITH_PORT.fullmatch(text)
    return _address((with_port["six"] or with_port["four"]) if with_port else text)


def _address(text: str) -> Address | None:
    """An address, without a port; one of IPv4 that is written in IPv6 as one of IPv4."""
    try:
        address = ip_address(text)
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
    address = _address(text)
    return address is not None and address.is_loopback


def password_fault(password: str) -> Sentence | None:
    """Why a text cannot be a password, or None where it can."""
    is_password = is_fit(password, LONGEST_PASSWORD, SHORTEST_PASSWORD)
    return None if is_password else _("cannot be taken; accepted: %(rule)s", PASSWORD_RULE)


def digest_of(secret: str) -> str:
    """What is stored of a token or a password hash: enough to know it again, and useless to a reader."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def begun(user: User, now: datetime) -> SignIn:
    """The sign-in of a user at this time."""
    return SignIn(user_name=user.name, password_digest=digest_of(user.password_hash), created_at=now, seen_at=now)


def lasts(sign_in: SignIn, user: User | None, now: datetime) -> bool:
    """Whether a sign-in is still good. `user` is the one who has its name now; with another password it has ended.

    One that begins ahead of `now` was written before a clock was set back: how long it would last is not known.
    """
    is_same = user is not None and hmac.compare_digest(digest_of(user.password_hash), sign_in.password_digest)
    is_recent = now - sign_in.seen_at < IDLE and now - sign_in.created_at < LONGEST
    return is_same and is_recent and sign_in.created_at - now < SEEN_EVERY


def is_to_be_noted(sign_in: SignIn, now: datetime) -> bool:
    """Whether it is time to write again that somebody looks."""
    return abs(now - sign_in.seen_at) >= SEEN_EVERY


def name_subject(name: str) -> str:
    """What the failures of a name are counted as.

    Names share a bounded number of subjects, whether there is such a user or not, and no wait says which.
    """
    return f"name:{digest_of(name)[:_BUCKET_DIGITS]}"


def address_subject(address: Address | None) -> str:
    """The same of an address; those of one IPv6 network of 64 bits, which one host may have, are one."""
    if isinstance(address, IPv6Address):
        return f"from:{digest_of(str(IPv6Network((address, _NETWORK_BITS), strict=False)))[:_BUCKET_DIGITS]}"
    return f"from:{digest_of(str(address))[:_BUCKET_DIGITS]}"


def wait_until(failures: Failures | None, now: datetime) -> datetime | None:
    """Until when a sign-in is not even tried; None where it may be.

    A wait that lies further ahead than any is long was written before a clock was set back, and is over.
    """
    until = None if failures is None else failures.locked_until
    return until if until is not None and now < until <= now + _LONGEST_WAIT else None


def one_more(failures: Failures | None, most: int, now: datetime) -> Failures:
    """The count with one more failure. From `most` on there is a wait, which doubles up to 15 minutes."""
    is_recent = failures is not None and abs(now - failures.last_at) < _FORGOTTEN_AFTER
    count = failures.count + 1 if failures is not None and is_recent else 1
    doublings = min(count - most, _MOST_DOUBLINGS)
    wait = None if doublings < 0 else min(_FIRST_WAIT * 2**doublings, _LONGEST_WAIT)
    return Failures(count=count, last_at=now, locked_until=None if wait is None else now + wait)


def one_less(failures: Failures) -> Failures | None:
    """The count of an address without a try that succeeded after all; None where nothing is left of it."""
    if failures.count <= 1:
        return None
    return Failures(count=failures.count - 1, last_at=failures.last_at)


def forgotten_before(now: datetime) -> datetime:
    """Failures that were last counted before this time count no more."""
    return now - _FORGOTTEN_AFTER


def form_token(secret: str, purpose: str) -> str:
    """What a form of ours carries: only who has the cookie with this secret can know it."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), purpose.encode(), "sha256").hexdigest()


def is_form_token(given: str, secret: str, purpose: str) -> bool:
    """Whether a form carries it; in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), form_token(secret, purpose).encode())


def is_foreign(*, fetch_site: str | None, origin: str | None, host: str) -> bool:
    """Whether another site sent a form, as far as the browser says: Sec-Fetch-Site, Origin, and our own Host."""
    if fetch_site in ("same-origin", "none"):
        return False
    if fetch_site == "cross-site":
        return True
    try:
        return origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:
        return True
