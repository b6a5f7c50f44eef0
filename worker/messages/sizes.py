"""How much one message may hold: found out before it is read as JSON, which takes many times its size."""

import re
from contextlib import suppress

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

# A string is one token, so that what it holds does not count. The quantifiers are possessive and the closing quote is
# optional: no text makes this scan more than linear, or takes memory for it.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,:]', re.DOTALL)


class Oversized(ValueError):
    """JSON that is not read, because it is too large; `str()` says how, without any of it."""


def text_of(json: str | bytes | memoryview) -> str:
    """JSON as text; bytes are read as `json.loads` reads UTF-8. Raises UnicodeDecodeError."""
    return json if isinstance(json, str) else str(json, "utf-8", "surrogatepass")


def check_body(body: str | bytes | memoryview) -> None:
    """Let the JSON of a body through that is small enough to be read. Raises Oversized."""
    if len(body) > LARGEST_BODY:
        raise Oversized(f"is longer than {LARGEST_BODY} bytes")
    # What cannot be decoded is found out by whoever reads it.
    with suppress(UnicodeDecodeError):
        check_size(text_of(body))


def check_size(text: str) -> None:
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
