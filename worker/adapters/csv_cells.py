"""Rows as CSV for people and their spreadsheets."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal

from worker.adapters.shown_values import value_text

# By it Excel knows the encoding.
_BYTE_ORDER_MARK = "\ufeff"
# A spreadsheet takes a text that begins with one of these for a formula, and runs it; Chinese and Japanese ones take
# the full-width characters for the others.
_FORMULA_BEGINS = tuple("=+-@＝＋－＠")
_CHARACTERS_AT_ONCE = 100_000


def csv_parts(columns: Sequence[str], rows: Iterable[Mapping[str, object]], zone: tzinfo) -> Iterator[bytes]:
    """These columns of the rows as CSV in UTF-8 with a byte order mark, in parts; their names first.

    A text that begins with `=`, `+`, `-` or `@`, full-width or not, gets a leading apostrophe; amounts and other
    numbers do not.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    text.write(_BYTE_ORDER_MARK)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name], zone) for name in columns])
        # By their length: a text of a row may have a million characters.
        if text.tell() > _CHARACTERS_AT_ONCE:
            yield _taken(text)
    yield _taken(text)


def _cell(value: object, zone: tzinfo) -> str:
    text = value_text(value, zone)
    is_number = isinstance(value, (int, float, Decimal))
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) and not is_number else text


def _taken(text: io.StringIO) -> bytes:
    taken = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return taken
