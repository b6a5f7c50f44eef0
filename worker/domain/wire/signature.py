"""Who asks: the account's credentials and the signature of one request (the platform's page, "公共请求参数")."""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, tzinfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """One account at the platform. The representation never shows the token."""

    account_sid: str
    """The platform's "ACCOUNT SID"; it is part of every URL."""
    auth_token: str = field(repr=False)
    """The platform's "AUTH TOKEN": secret."""
    app_id: str
    """The application, as the request's `appid`."""


def timestamp_at(now: datetime, timezone: tzinfo) -> str:
    """An aware moment as the platform writes it: `yyyyMMddHHmmss`, in the platform's own time zone.

    The platform accepts a timestamp for 24 hours. Raises ValueError for a naive moment, which would sign a wrong hour.
    """
    if now.tzinfo is None:
        raise ValueError("a naive time cannot be signed: it names no moment")
    return now.astimezone(timezone).strftime("%Y%m%d%H%M%S")


def sign(credentials: Credentials, timestamp: str) -> str:
    """The `Sign` parameter: MD5 of accountSID + authToken + timestamp, 32 hex digits. Any case is accepted."""
    text = credentials.account_sid + credentials.auth_token + timestamp
    # MD5 is the platform's choice. The flag lets it run on hosts that forbid MD5 as a security measure.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()


def authorization(credentials: Credentials, timestamp: str) -> str:
    """The `Authorization` header: base64 of accountSID + `|` + timestamp, with no scheme word before it."""
    return base64.b64encode(f"{credentials.account_sid}|{timestamp}".encode()).decode("ascii")
