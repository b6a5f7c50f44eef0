"""Check a message's limits before it is read as JSON, because the result takes many times its size in memory."""

import bz2
import gc
import json
import lzma
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeGuard

from worker.domain.records.sentences import Sentence, _

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes of a message's unpacked body. A list of 1000 orders is well below a megabyte."""
LARGEST_ITEM = 12 * 1024 * 1024
"""Bytes of a message in Redis: enough for a body of 9 MB in base64, and its headers."""
LARGEST_BEYOND_ASCII = LARGEST_BODY
"""The same limit if the message is not only ASCII: a character may take four bytes in memory. kombu writes ASCII."""
MOST_VALUES = 100_000
"""JSON values in a message. A list of 1000 orders with every field has about 13,000."""
MOST_KEPT = 1_000_000
"""Characters that are kept from a message that is refused unread."""

LONGEST_NAME = 255
"""Characters in a queue's name: kombu's own limit on RabbitMQ."""

UNREAD = "unread"
"""The named argument with a message that is refused unread. It is an object with `text` (the message's start), `errors`
and `bytes` (its size).
"""

_LARGE = 1024 * 1024
_ACCEPTED = _("a list of 1 to 1000, send more in parts")
TOO_LARGE = (
    _("message: its body is longer than %(count)s bytes; accepted: %(rule)s", LARGEST_BODY, _ACCEPTED),
    _("message: its body holds more than %(count)s JSON values; accepted: %(rule)s", MOST_VALUES, _ACCEPTED),
)
"""The reasons for which a message is refused unread."""

# A string is one token, so that its content is not counted. The quantifiers are possessive and the closing quote is
# optional, so that the scan of any text takes linear time and no memory.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,:]', re.DOTALL)


class Oversized(ValueError):
    """JSON that is too large to be read; `str()` names the exceeded limit and quotes nothing."""


def shortened(size: object) -> Sentence:
    """The sentence about a message of `size` bytes of which only the start is kept."""
    return _("payload: shortened; kept are the first %(kept)s characters of %(all)s or more bytes", MOST_KEPT, size)


def _text_of(sent: str | bytes | memoryview) -> str:
    """JSON as text. Bytes are decoded as `json.loads` decodes UTF-8. Raises UnicodeDecodeError."""
    return sent if isinstance(sent, str) else str(sent, "utf-8", "surrogatepass")


def check_body(body: str | bytes | memoryview) -> None:
    """Check that a body's JSON is small enough to be read. Raises Oversized."""
    if len(body) > LARGEST_BODY:
        raise Oversized(f"is longer than {LARGEST_BODY} bytes")
    # Undecodable bytes fail later, when they are read.
    with suppress(UnicodeDecodeError):
        _check_size(_text_of(body))


def _check_size(text: str) -> None:
    """Check that JSON does not have too many values. Raises Oversized.

    Brackets, commas and colons outside strings are counted.
    """
    # First a fast count that includes strings. The slower scan runs only if that count is too large.
    if sum(map(text.count, "[{,:")) > MOST_VALUES and _has_too_many(text):
        raise Oversized(f"holds more than {MOST_VALUES} JSON values")


def _has_too_many(text: str) -> bool:
    marks = strings = 0
    for token in _TOKEN.finditer(text):
        if text[token.start()] == '"':
            strings += 1
        else:
            marks += 1
        # In JSON, every string except one is next to a mark. The limit on strings ends the scan of text that is not
        # JSON.
        if marks > MOST_VALUES or strings > MOST_VALUES + 1:
            return True
    return False


def is_name(value: Any, longest: int = LONGEST_NAME) -> TypeGuard[str]:
    """Whether a value is a non-empty text of printable characters.

    Text that cannot be encoded, such as half a surrogate pair, would end the worker. It does not count as printable.
    """
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def read_json(text: Any) -> Any:
    """Read JSON of limited size, into JSON's own types only.

    Raises Oversized, a ValueError, before anything is read, and ValueError for text that is not JSON.
    """
    if len(text) > _LARGE:
        # Celery and kombu leave reference cycles for each message (requests, tracebacks). Python collects them after a
        # number of objects, not of bytes, so a few large messages would add up.
        gc.collect()
    text = _text_of(text)
    _check_size(text)
    return json.loads(text)


def read_body(body: Any) -> Any:
    """Read the JSON of a message's body, like `read_json`. Raises ValueError; Oversized if it is too large."""
    check_body(body)
    return read_json(body)


def unpacking_bounded(kind: str) -> Callable[[bytes], bytes]:
    """Return a function that unpacks bodies of this kind, up to the largest body.

    The function raises ValueError for a kind without a bounded unpacker, and for a body that is cut short.
    """

    def unpack(packed: bytes) -> bytes:
        if kind not in _UNPACKERS:
            raise ValueError(f"{kind} is not accepted")
        unpacker = _UNPACKERS[kind]()
        # One byte more than allowed, so that `check_body` notices a body that is too long.
        body = unpacker.decompress(packed, max_length=LARGEST_BODY + 1)
        if not unpacker.eof and len(body) <= LARGEST_BODY:
            raise ValueError("is cut short")
        return body

    return unpack


class _Unpacker(Protocol):
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...

    @property
    def eof(self) -> bool: ...


_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    # LZMA's default level needs 9 MB to unpack, the highest level 65 MB.
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=32 * 1024 * 1024),
}
