"""The limits of a message, checked before it is read as JSON, which takes many times its size in memory."""

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
"""Bytes of a message's body, unpacked. A list of 1000 orders is well below a megabyte."""
LARGEST_ITEM = 12 * 1024 * 1024
"""Bytes of a message as Redis holds it: a body of 9 MB in base64, and its headers."""
LARGEST_BEYOND_ASCII = LARGEST_BODY
"""The same where it is not only ASCII, unlike what kombu writes: each character may take four bytes in memory."""
MOST_VALUES = 100_000
"""JSON values of a message. A list of 1000 orders with every field has some 13,000."""
MOST_KEPT = 1_000_000
"""Characters that are kept of a message that is refused unread."""

LONGEST_NAME = 255
"""Characters of a queue's name: kombu's own limit on RabbitMQ."""

UNREAD = "unread"
"""The named argument with a message that is refused unread: an object with `text`, its start, `errors`, and `bytes`,
its size."""

_LARGE = 1024 * 1024
_ACCEPTED = _("a list of 1 to 1000, send more in parts")
TOO_LARGE = (
    _("message: its body is longer than %(count)s bytes; accepted: %(rule)s", LARGEST_BODY, _ACCEPTED),
    _("message: its body holds more than %(count)s JSON values; accepted: %(rule)s", MOST_VALUES, _ACCEPTED),
)
"""Why a message is refused unread."""

# A string is one token, so that its content does not count. The quantifiers are possessive and the closing quote is
# optional: on any text the scan is linear, and needs no memory.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,:]', re.DOTALL)


class Oversized(ValueError):
    """JSON that is not read, because it is too large; `str()` says how, without any of it."""


def shortened(size: object) -> Sentence:
    """What is said of a message of this many bytes that is kept in part."""
    return _("payload: shortened; kept are the first %(kept)s characters of %(all)s or more bytes", MOST_KEPT, size)


def _text_of(sent: str | bytes | memoryview) -> str:
    """JSON as text; bytes are read as `json.loads` reads UTF-8. Raises UnicodeDecodeError."""
    return sent if isinstance(sent, str) else str(sent, "utf-8", "surrogatepass")


def check_body(body: str | bytes | memoryview) -> None:
    """Check that the JSON of a body is small enough to be read. Raises Oversized."""
    if len(body) > LARGEST_BODY:
        raise Oversized(f"is longer than {LARGEST_BODY} bytes")
    # Bytes that cannot be decoded fail later, when they are read.
    with suppress(UnicodeDecodeError):
        _check_size(_text_of(body))


def _check_size(text: str) -> None:
    """Check that JSON holds few enough values, by its brackets, commas and colons outside strings.

    Raises Oversized.
    """
    # First all of them, those in strings included, which is fast; the slower scan only where these are too many.
    if sum(map(text.count, "[{,:")) > MOST_VALUES and _has_too_many(text):
        raise Oversized(f"holds more than {MOST_VALUES} JSON values")


def _has_too_many(text: str) -> bool:
    marks = strings = 0
    for token in _TOKEN.finditer(text):
        if text[token.start()] == '"':
            strings += 1
        else:
            marks += 1
        # In JSON every string but one is next to such a mark. The count of strings bounds the scan of other text.
        if marks > MOST_VALUES or strings > MOST_VALUES + 1:
            return True
    return False


def is_name(value: Any, longest: int = LONGEST_NAME) -> TypeGuard[str]:
    """Whether it is a text of printable characters, and not empty.

    Text that cannot be encoded, such as half a surrogate pair, would end the worker; it is not printable either.
    """
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def read_json(text: Any) -> Any:
    """Read JSON of limited size, into JSON's own types only.

    Raises ValueError; Oversized, which is one, before anything is read.
    """
    if len(text) > _LARGE:
        # Celery and kombu leave reference cycles of a message (requests, tracebacks), which stay until Python collects
        # them. It does so by their number, not their size: a few large messages would add up.
        gc.collect()
    text = _text_of(text)
    _check_size(text)
    return json.loads(text)


def read_body(body: Any) -> Any:
    """Read the JSON of a message's body, as `read_json` does. Raises ValueError; Oversized, which is one."""
    check_body(body)
    return read_json(body)


def unpacking_bounded(kind: str) -> Callable[[bytes], bytes]:
    """Returns what unpacks a body of this kind, up to the largest body. It raises ValueError for an unlimited kind."""

    def unpack(packed: bytes) -> bytes:
        if kind not in _UNPACKERS:
            raise ValueError(f"{kind} is not accepted")
        unpacker = _UNPACKERS[kind]()
        # One byte more, by which `check_body` sees that it is too long.
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
    # Its default level needs 9 MB to unpack, its best one 65 MB.
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=32 * 1024 * 1024),
}
