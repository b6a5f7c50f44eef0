"""Signing in at the console: how long it lasts, when somebody who guesses has to wait, and which form is ours.

The lengths are those that OWASP's cheat sheets on sessions and on authentication name.
"""

import hashlib
import hmac
import re
from datetime import datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from urllib.parse import urlsplit

from worker.domain.callback_access import Address
from worker.domain.records.sign_ins import Failures, SignIn, User

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1_000
PASSWORD_RULE = f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,} characters, no control character"
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
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FORGOTTEN_AFTER = timedelta(hours=1)
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(minutes=15)
_MOST_DOUBLINGS = 10


def password_fault(password: str) -> str | None:
    """Why a text cannot be a password, or None where it can."""
    is_password = SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD and not _CONTROLS.search(password)
    return None if is_password else f"cannot be taken; accepted: {PASSWORD_RULE}"


def digest_of(secret: str) -> str:
    """What is stored of a token or a password hash: enough to know it again, and useless to whoever reads it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def begun(user: User, now: datetime) -> SignIn:
    """The sign-in of a user at this time."""
    return SignIn(user_name=user.name, password_digest=digest_of(user.password_hash), created_at=now, seen_at=now)


def lasts(sign_in: SignIn, user: User | None, now: datetime) -> bool:
    """Whether a sign-in is still good. `user` is whoever has its name now; with another password it has ended.

    One that begins ahead of `now` was written before a clock was set back: nobody knows for how long it would last.
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
