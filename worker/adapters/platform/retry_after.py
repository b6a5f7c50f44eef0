"""The `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 10_000_000.0
"""Seconds; a longer wait is taken as this one. What a wait may be at most, the account's back-off decides."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


def wait_requested(header: str | None, now: datetime) -> float | None:
    """Seconds to wait, zero or more; None where there is no readable header. `now` is an aware wall clock time."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    # A date without a zone is read as UTC: HTTP dates have no other.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), LONGEST)
