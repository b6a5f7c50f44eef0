"""JSON read strictly: nothing is guessed, and nothing that a sender writes can cost much time or memory.

Numbers stay the text they were written as, so an amount is never a float and `1e400` never overflows. Doubled keys,
`NaN` and `Infinity`, which Python's reader accepts, are refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring

from worker.domain.records.incoming import storable
from worker.domain.records.sentences import Refusal, Sentence

MAX_DEPTH = 16
"""Levels of nesting; the platform's own answers have at most three."""
WORDS_LIMIT = 2000
"""Characters of an item's own words that are kept."""

# A string is one token, so that brackets inside it do not count. The quantifiers are possessive and the closing quote
# is optional: no input makes this scan more than linear, an unterminated string full of escaped quotes included.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


class JsonNumber(str):
    """A number as it was written, so `2.94` stays `2.94`."""

    __slots__ = ()


class JsonFault(Refusal):
    """Text that is not JSON as we accept it; `str()` says why, without quoting the text."""


def parse(text: str) -> object:
    """Read JSON into dict, list, str, JsonNumber, bool and None. Raises JsonFault, and nothing else."""
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=JsonNumber,
            parse_float=JsonNumber,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise JsonFault("not JSON: %(why)s at character %(position)s", Sentence(error.msg), error.pos) from None


def words_of(value: object) -> str:
    """A value as compact JSON, at most 2,000 characters and storable; numbers are written as they were read."""
    return storable(_written(value, MAX_DEPTH), WORDS_LIMIT)


def _check_depth(text: str) -> None:
    # Before json.loads, whose depth of recursion the sender could choose otherwise.
    depth = 0
    for match in _TOKEN.finditer(text):
        first = text[match.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonFault("nested deeper than %(count)s levels", MAX_DEPTH)
        elif first in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise JsonFault("an object says one key twice")
    return fields


def _constant(name: str) -> object:
    raise JsonFault("%(value)s is not JSON", name)


def _written(value: object, levels: int) -> str:
    if isinstance(value, str):
        # As json.dumps does it, which would make a new encoder for each text.
        return str(value) if isinstance(value, JsonNumber) else encode_basestring(value)
    if isinstance(value, Mapping | Sequence) and levels == 0:
        return '"..."'
    if isinstance(value, Mapping):
        # Nearly all values are plain text: they are written here, without a call for each.
        members = [
            f"{encode_basestring(str(key))}:"
            + (encode_basestring(held) if type(held) is str else _written(held, levels - 1))
            for key, held in value.items()
        ]
        return "{" + ",".join(members) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(_written(held, levels - 1) for held in value) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    # Python refuses to write very long integers in decimal; their hexadecimal form is not limited.
    return hex(value) if isinstance(value, int) and value.bit_length() > 512 else repr(value)


def is_damaged_utf_8(body: bytes) -> bool:
    """Whether bytes that are no UTF-8 are text in UTF-8 with some bytes missing or wrong.

    Such text often decodes as GB18030, into other words: a denial would no longer be read as one. Text in GB18030 has
    more wrong bytes than characters if it is read as UTF-8.
    """
    text = body.decode("utf-8", "replace")
    wrong = text.count("\N{REPLACEMENT CHARACTER}")
    return sum(character > "\x7f" for character in text) >= 2 * wrong
