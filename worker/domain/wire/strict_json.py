"""Read JSON strictly: without guesses, and safe against input that would take much time or memory.

Numbers stay text as written, so an amount is never a float and `1e400` never overflows. Repeated keys, `NaN` and
`Infinity`, which Python's reader accepts, are refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring

from worker.domain.records.incoming import storable
from worker.domain.records.sentences import Refusal, Sentence

MAX_DEPTH = 16
"""The allowed levels of nesting. The platform's own answers have at most three."""
WORDS_LIMIT = 2000
"""How many characters of an item's JSON are stored."""

# A string is one token, so that brackets inside it do not count. The quantifiers are possessive and the closing quote
# is optional. So the scan takes linear time for any input, even for an unterminated string full of escaped quotes.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


class JsonNumber(str):
    """A number as text, exactly as it was written: `2.94` stays `2.94`."""

    __slots__ = ()


class JsonFault(Refusal):
    """Text that is not JSON as accepted here. `str()` says why, without quoting the text."""


def parse(text: str) -> object:
    """Read JSON into dict, list, str, JsonNumber, bool and None. Raises only JsonFault."""
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
    """Return a value as compact, storable JSON of at most 2,000 characters. Numbers are written as they were read."""
    return storable(_written(value, MAX_DEPTH), WORDS_LIMIT)


def _check_depth(text: str) -> None:
    # Check before json.loads, which calls itself for each level: otherwise, the sender could choose how deep it goes.
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
        # json.dumps would write the same text, but makes a new encoder for each text.
        return str(value) if isinstance(value, JsonNumber) else encode_basestring(value)
    if isinstance(value, Mapping | Sequence) and levels == 0:
        return '"..."'
    if isinstance(value, Mapping):
        # Nearly all values are plain text. So plain text is written here, without a call of `_written` for each value.
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
    # Python refuses to write very long integers in decimal. Their hexadecimal form has no limit.
    return hex(value) if isinstance(value, int) and value.bit_length() > 512 else repr(value)


def is_damaged_utf_8(body: bytes) -> bool:
    """Whether bytes that are not valid UTF-8 are damaged UTF-8 text, with some bytes missing or wrong.

    Damaged UTF-8 often decodes as GB18030, but into other words, so that a denial would not be recognised. If real
    GB18030 text is read as UTF-8, it has more wrong bytes than correct characters beyond ASCII.
    """
    text = body.decode("utf-8", "replace")
    wrong = text.count("\N{REPLACEMENT CHARACTER}")
    return sum(character > "\x7f" for character in text) >= 2 * wrong
