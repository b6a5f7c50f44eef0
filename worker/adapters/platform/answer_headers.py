"""Two headers of an answer: Content-Encoding, which is decoded within a bound, and Retry-After.

The request accepts only `identity`; a platform or a proxy may compress all the same. The standard library's zlib is
used rather than the HTTP library's decoder: it is bounded in one call, and it shows whether a stream was cut short.
"""

import re
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from worker.domain.records.query_errors import Malformed
from worker.domain.wire.answers import BODY_LIMIT

LONGEST_WAIT = 10_000_000.0
"""Seconds; a longer wait counts as this one. The account's back-off has a limit of its own."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_GZIP = 16 + zlib.MAX_WBITS


def decoded(body: bytes, content_encoding: str | None) -> bytes:
    """The body without its encoding: identity, gzip or deflate; at most 4 MiB. Raises Malformed for the rest."""
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if not codings:
        return body
    if codings in (["gzip"], ["x-gzip"]):
        return _inflated(body, _GZIP)
    if codings == ["deflate"]:
        try:
            return _inflated(body, zlib.MAX_WBITS)
        except Malformed:
            # Some servers send the bare stream, without zlib's frame.
            return _inflated(body, -zlib.MAX_WBITS)
    raise Malformed("the answer's Content-Encoding is neither gzip nor deflate")


def _inflated(body: bytes, window_bits: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    try:
        plain = stream.decompress(body, BODY_LIMIT + 1)
    except zlib.error:
        raise Malformed("the answer's compressed body is damaged") from None
    if len(plain) > BODY_LIMIT:
        raise Malformed(f"the answer's body is longer than {BODY_LIMIT} bytes when decompressed")
    if not stream.eof or stream.unused_data:
        raise Malformed("the answer's compressed body ends too early, or goes on past its end")
    return plain


def wait_requested(header: str | None, now: datetime) -> float | None:
    """The wait of a `Retry-After` (RFC 9110, section 10.2.3: seconds, or a date), in seconds, zero or more; None where
    there is no readable header. `now` is an aware wall clock time."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    # A date without a zone is read as UTC: HTTP dates have no other.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), LONGEST_WAIT)
