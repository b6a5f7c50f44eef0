"""Makes text from values, for people who use the command line or the console; and CSV from rows, for spreadsheets."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from worker.adapters.safe_text import escape_controls
from worker.domain.wire.fields import amount_text

_MOST_TIMES_LONGER, _SHORT = 10, 1_000
# A CSV file starts with this mark, by which Excel recognizes UTF-8.
_BYTE_ORDER_MARK = "\ufeff"
# A spreadsheet runs a text as a formula if it begins with one of these characters. Chinese and Japanese spreadsheets
# also accept the full-width characters.
_FORMULA_BEGINS = tuple("=+-@＝＋－＠")
_CHARACTERS_AT_ONCE = 100_000


def time_text(time: datetime, zone: tzinfo) -> str:
    """A time to the second, with the zone's offset from UTC: `2016-01-31 18:00:00+08`. In UTC it ends with Z
    instead."""
    local = time.astimezone(zone)
    offset = f"{local:%z}"
    short = "Z" if offset == "+0000" else offset.removesuffix("00")
    return f"{local:%Y-%m-%d %H:%M:%S}{short}"


def value_text(value: object, zone: tzinfo) -> str:
    """A value of a row as text; times are formatted by `time_text`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return time_text(value, zone)
    return amount_text(value) if isinstance(value, Decimal) else escape_controls(str(value))


def indented_json(text: str) -> str:
    """Indent JSON over several lines.

    The text is returned unchanged if it is not JSON, for example because only a part of it was kept. It is also
    returned unchanged if it is nested so deep that indenting would make it many times as long.
    """
    try:
        lines = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
    # JSON may contain an escape for half of a surrogate pair, and UTF-8 cannot represent that half.
    shown = lines.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _MOST_TIMES_LONGER * len(text) + _SHORT else text


def csv_parts(columns: Sequence[str], rows: Iterable[Mapping[str, object]], zone: tzinfo) -> Iterator[bytes]:
    """Yield a CSV file of these columns of the rows, part by part, in UTF-8 with a byte order mark. The columns' names
    come first.

    A text that begins with `=`, `+`, `-` or `@`, full-width or not, gets a leading apostrophe; amounts and other
    numbers do not.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    text.write(_BYTE_ORDER_MARK)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name], zone) for name in columns])
        # Parts are cut by length and not by rows, because a text in a row may have a million characters.
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
