"""Check the size of a message before it is read as JSON, because its values take many times its size in memory."""

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
"""The most bytes of a message's unpacked body. A list of 1000 orders is well below a megabyte."""
LARGEST_ITEM = 12 * 1024 * 1024
"""The most bytes of a message in Redis: enough for the headers and a body of 9 MB, which is in base64."""
LARGEST_BEYOND_ASCII = LARGEST_BODY
"""The most bytes of a message that is not only ASCII. kombu itself writes only ASCII.

The limit is lower than for ASCII, because each character of a text that is not ASCII may take four bytes in memory.
"""
MOST_VALUES = 100_000
"""The most JSON values in a message. A list of 1000 orders with every field has about 13,000 values."""
MOST_KEPT = 1_000_000
"""The most characters that are kept of a message that is refused unread."""

LONGEST_NAME = 255
"""The most characters in a name, such as that of a queue. This is kombu's own limit on RabbitMQ."""

UNREAD = "unread"
"""The name of the task argument that describes a message that is refused unread. The argument is an object with `text`
(the message's start), `errors` and `bytes` (the message's size).
"""

_LARGE = 1024 * 1024
_ACCEPTED = _("a list of 1 to 1000, send more in parts")
TOO_LARGE = (
    _("message: its body is longer than %(count)s bytes; accepted: %(rule)s", LARGEST_BODY, _ACCEPTED),
    _("message: its body holds more than %(count)s JSON values; accepted: %(rule)s", MOST_VALUES, _ACCEPTED),
)
"""The reasons for which a message is refused unread."""

# Matches a whole string, or one mark outside of strings. So marks inside a string are not counted. The quantifiers are
# possessive and the closing quote is optional, so that the scan of any text takes linear time and no memory.
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
    # Bytes that are not UTF-8 raise an error later, when the body is read.
    with suppress(UnicodeDecodeError):
        _check_size(_text_of(body))


def _check_size(text: str) -> None:
    """Check that JSON does not have too many values. Raises Oversized.

    Brackets, commas and colons outside strings are counted.
    """
    # First count the marks in the whole text, strings included, which is fast. Only if this count is too large, run the
    # slower scan, which leaves out strings.
    if sum(map(text.count, "[{,:")) > MOST_VALUES and _has_too_many(text):
        raise Oversized(f"holds more than {MOST_VALUES} JSON values")


def _has_too_many(text: str) -> bool:
    marks = strings = 0
    for token in _TOKEN.finditer(text):
        if text[token.start()] == '"':
            strings += 1
        else:
            marks += 1
        # In valid JSON, a comma, colon or bracket separates any two strings. So only text that is not JSON can have
        # more strings than the second limit allows. That limit ends the scan of such a text.
        if marks > MOST_VALUES or strings > MOST_VALUES + 1:
            return True
    return False


def is_name(value: Any, longest: int = LONGEST_NAME) -> TypeGuard[str]:
    """Whether a value is a non-empty text of printable characters.

    Text that cannot be encoded, such as half a surrogate pair, is not printable either. Such text would end the worker.
    """
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def read_json(text: Any) -> Any:
    """Read JSON of limited size, into JSON's own types only.

    Raises Oversized, which is a ValueError, before any value is read. Raises ValueError for text that is not JSON.
    """
    if len(text) > _LARGE:
        # Free the memory of earlier messages: Celery and kombu leave reference cycles for each message (requests,
        # tracebacks). Python itself collects cycles after a number of objects, not of bytes, so a few large messages
        # would stay in memory together.
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

    The function raises ValueError if there is no bounded unpacker for the kind, or if a body is cut short.
    """

    def unpack(packed: bytes) -> bytes:
        if kind not in _UNPACKERS:
            raise ValueError(f"{kind} is not accepted")
        unpacker = _UNPACKERS[kind]()
        # Unpack up to one byte more than allowed, so that `check_body` notices a body that is too long.
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
    # The limit of 32 MB accepts LZMA's default level, which needs 9 MB to unpack; the highest level needs 65 MB.
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=32 * 1024 * 1024),
}
