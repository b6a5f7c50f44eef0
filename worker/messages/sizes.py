"""How much one message may hold: found out before it is read as JSON, which takes many times its size.

What is small enough is read here, and unpacked no further than that.
"""

import bz2
import gc
import json
import lzma
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes of a message's body, unpacked. A list of 1000 orders is well below a megabyte."""
LARGEST_ITEM = 12 * 1024 * 1024
"""Bytes of a message as Redis holds it: a body of 9 MB in base64, and its headers."""
LARGEST_BEYOND_ASCII = LARGEST_BODY
"""The same where it is not ASCII alone, as kombu writes it: in memory each character may then take four bytes."""
MOST_VALUES = 100_000
"""JSON values of a message. A list of 1000 orders with every field has some 13,000."""
MOST_KEPT = 1_000_000
"""Characters that are kept of a message that was refused unread."""

UNREAD = "unread"
"""The named argument in which a task gets what was refused unread: an object with `text`, its start, and `errors`."""

_LARGE = 1024 * 1024

# A string is one token, so that what it holds does not count. The quantifiers are possessive and the closing quote is
# optional: no text makes this scan more than linear, or takes memory for it.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,:]', re.DOTALL)


class Oversized(ValueError):
    """JSON that is not read, because it is too large; `str()` says how, without any of it."""


def _text_of(sent: str | bytes | memoryview) -> str:
    """JSON as text; bytes are read as `json.loads` reads UTF-8. Raises UnicodeDecodeError."""
    return sent if isinstance(sent, str) else str(sent, "utf-8", "surrogatepass")


def check_body(body: str | bytes | memoryview) -> None:
    """Let the JSON of a body through that is small enough to be read. Raises Oversized."""
    if len(body) > LARGEST_BODY:
        raise Oversized(f"is longer than {LARGEST_BODY} bytes")
    # What cannot be decoded is found out by whoever reads it.
    with suppress(UnicodeDecodeError):
        _check_size(_text_of(body))


def _check_size(text: str) -> None:
    """Let JSON through that holds few values: its brackets, commas and colons outside strings are counted.

    Raises Oversized.
    """
    # All of them, those in strings included, are counted at once; only where these are too many are strings told apart.
    if sum(map(text.count, "[{,:")) > MOST_VALUES and _has_too_many(text):
        raise Oversized(f"holds more than {MOST_VALUES} JSON values")


def _has_too_many(text: str) -> bool:
    marks = strings = 0
    for token in _TOKEN.finditer(text):
        if text[token.start()] == '"':
            strings += 1
        else:
            marks += 1
        # In JSON every string but one stands beside such a mark: the strings bound the scan of what is no JSON.
        if marks > MOST_VALUES or strings > MOST_VALUES + 1:
            return True
    return False


def read_json(text: Any) -> Any:
    """Read JSON of a size that is bounded, and make nothing of it but JSON's own types.

    Raises ValueError; Oversized, which is one, before anything is read.
    """
    if len(text) > _LARGE:
        # What Celery and kombu leave of a message (requests, tracebacks) refers to itself, so it stays until Python
        # looks for such things. It does so by their number, not their size: a few large messages would add up.
        gc.collect()
    text = _text_of(text)
    _check_size(text)
    return json.loads(text)


def read_body(body: Any) -> Any:
    """Read the JSON of a message's body, as `read_json` does. Raises ValueError; Oversized, which is one."""
    check_body(body)
    return read_json(body)


def unpacking_bounded(kind: str) -> Callable[[bytes], bytes]:
    """What unpacks a body of this kind, up to the largest body; it raises ValueError for a kind that has no bound."""

    def unpack(packed: bytes) -> bytes:
        if kind not in _UNPACKERS:
            raise ValueError(f"{kind} is not accepted")
        unpacker = _UNPACKERS[kind]()
        # One more, so that whoever looks at it sees that it is too long.
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
    # What it packs with by default takes 9 MB to unpack, at its best 65 MB.
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=32 * 1024 * 1024),
}
