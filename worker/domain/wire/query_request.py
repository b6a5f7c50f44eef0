"""The HTTP request of one query: credentials, signature, URL, headers and body.

`POST {base}/{version}/sid/{accountSID}/traffic/Traffic.wx`, signed as the platform's page says ("公共请求参数").
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from urllib.parse import quote

from worker.domain.records.orders import IdKind
from worker.domain.wire.fields import bare_id_fault

MAX_IDS = 100
"""The platform's limit for the orders in one query."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """The credentials of one account at the platform. The representation never shows the token."""

    account_sid: str
    """The platform's "ACCOUNT SID", which is part of every URL."""
    auth_token: str = field(repr=False)
    """The platform's "AUTH TOKEN", which is secret."""
    app_id: str
    """The application id, which the request carries as `appid`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WireRequest:
    """A complete POST request. URL and headers contain credentials, so the representation omits them."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes


def timestamp_at(now: datetime, timezone: tzinfo) -> str:
    """Format an aware time for the platform: `yyyyMMddHHmmss`, in the platform's time zone.

    The platform accepts a timestamp for 24 hours. Raises ValueError for a naive time, because the signed hour could be
    wrong.
    """
    if now.tzinfo is None:
        raise ValueError("a naive time cannot be signed: it names no moment")
    return now.astimezone(timezone).strftime("%Y%m%d%H%M%S")


def sign(credentials: Credentials, timestamp: str) -> str:
    """The `Sign` parameter: MD5 of accountSID + authToken + timestamp, as 32 hex digits, which may have any case."""
    text = credentials.account_sid + credentials.auth_token + timestamp
    # MD5 is the platform's choice. `usedforsecurity=False` allows MD5 on hosts that forbid it for security.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()


def authorization(credentials: Credentials, timestamp: str) -> str:
    """The `Authorization` header: base64 of accountSID + `|` + timestamp, without an authentication scheme."""
    return base64.b64encode(f"{credentials.account_sid}|{timestamp}".encode()).decode("ascii")


def build_request(
    *,
    base_url: str,
    version: str,
    credentials: Credentials,
    timestamp: str,
    id_kind: IdKind,
    ids: Sequence[str],
    bracketed: bool = False,
) -> WireRequest:
    """Build the signed request for 1 to 100 ids of one kind. `timestamp` comes from `timestamp_at`.

    `bracketed` writes the ids as `[a,b]`, as the platform's .NET sample does. Raises ValueError for ids that would
    change the meaning of the whole batch. Such ids are a programming error, because enqueueing refuses them.
    """
    _check(ids)
    joined = ",".join(ids)
    content = {
        "action": "getTrafficResult",
        id_kind.value: f"[{joined}]" if bracketed else joined,
        "appid": credentials.app_id,
    }
    path = f"/{quote(version, safe='')}/sid/{quote(credentials.account_sid, safe='')}/traffic/Traffic.wx"
    return WireRequest(
        url=f"{base_url.rstrip('/')}{path}?Sign={sign(credentials, timestamp)}",
        headers={
            "Accept": "application/json",
            "Content-Type": "application/json;charset=utf-8",
            "Authorization": authorization(credentials, timestamp),
        },
        body=json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def _check(ids: Sequence[str]) -> None:
    if not 1 <= len(ids) <= MAX_IDS:
        raise ValueError(f"a query carries 1 to {MAX_IDS} ids, not {len(ids)}")
    if len(set(ids)) != len(ids):
        raise ValueError("a query carries each id once")
    for identity in ids:
        if fault := bare_id_fault(identity):
            raise ValueError(f"an id that {fault}: {identity!r}")
