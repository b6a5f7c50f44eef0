"""Values as people read them, by the command line and by the console, and rows as CSV for their spreadsheets."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from worker.adapters.safe_text import escape_controls
from worker.domain.wire.fields import amount_text

_MOST_TIMES_LONGER, _SHORT = 10, 1_000
# By it Excel knows the encoding.
_BYTE_ORDER_MARK = "\ufeff"
# A spreadsheet takes a text that begins with one of these for a formula, and runs it; Chinese and Japanese ones take
# the full-width characters for the others.
_FORMULA_BEGINS = tuple("=+-@＝＋－＠")
_CHARACTERS_AT_ONCE = 100_000


def time_text(time: datetime, zone: tzinfo) -> str:
    """A time to the second, with its offset: `2016-01-31 18:00:00+08`, or with Z in UTC."""
    local = time.astimezone(zone)
    offset = f"{local:%z}"
    short = "Z" if offset == "+0000" else offset.removesuffix("00")
    return f"{local:%Y-%m-%d %H:%M:%S}{short}"


def value_text(value: object, zone: tzinfo) -> str:
    """A value of a row as text; times are as `time_text` has them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return time_text(value, zone)
    return amount_text(value) if isinstance(value, Decimal) else escape_controls(str(value))


def indented_json(text: str) -> str:
    """JSON over several lines. As it is: a text that is no JSON, as it was kept in part only, and one that is nested so
    deep that it would become many times as long."""
    try:
        lines = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
    # Half of a surrogate pair, which JSON may hold as an escape, has no UTF-8.
    shown = lines.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _MOST_TIMES_LONGER * len(text) + _SHORT else text


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
