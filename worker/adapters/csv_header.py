"""CSV as Chinese back offices write it: UTF-8 or GB18030, commas, tabs or semicolons, a title above the header."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

UTF_8 = "utf-8"
# It holds GBK and GB2312.
GB18030 = "gb18030"
USUAL_NAMES: Mapping[str, Sequence[str]] = {
    "request_id": ("request_id", "requestId", "request id", "平台订单号"),
    "custom_parm": ("custom_parm", "customParm", "商户订单号"),
    "mobile": ("mobile", "手机号", "手机号码"),
    "account": ("account", "接口账号"),
    "submitted_at": ("submitted_at", "提交时间"),
    "expected_amount": ("expected_amount", "应扣金额"),
    "state": ("state", "status", "trafficSts", "状态"),
    "amount": ("amount", "oriAmount", "金额"),
}
"""What each column may be called without being told so."""

_DELIMITERS = (",", "\t", ";")
# Before the header there may be a title, the customer's name, the period.
_WITHIN_ROWS = 20
_MOST_NAMES_SHOWN = 12

Places = Mapping[str, Sequence[int]]
"""By column: where its names stand in a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The row that names the columns."""

    line: int
    """Its last line, from 1."""
    delimiter: str
    names: Sequence[str]
    """As they stand there, without blanks around them."""
    places: Places


def encoding_of(lines: Iterable[bytes]) -> str:
    """`UTF_8` or `GB18030`, whichever most of the lines are that are not ASCII: a few bytes may look like the other
    one, or be neither."""
    utf_8 = gb18030 = 0
    for line in lines:
        if not line.isascii():
            is_utf_8 = _is(line, UTF_8)
            utf_8 += is_utf_8
            gb18030 += not is_utf_8 and _is(line, GB18030)
    return GB18030 if gb18030 > utf_8 else UTF_8


def find_header(
    text: str, columns: Mapping[str, Collection[str]], is_header: Callable[[Places], bool]
) -> Header | None:
    """The first row, within the first 20, that is the header by where it names these columns; None where there is none.

    `columns` are the names of each, which compare without case and blanks around them.
    """
    wanted = {column: {_plain(name) for name in names} for column, names in columns.items()}
    for delimiter in _DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            for row in islice(rows, _WITHIN_ROWS):
                places = {
                    column: [place for place, name in enumerate(row) if _plain(name) in names]
                    for column, names in wanted.items()
                }
                if is_header(places):
                    names = [name.strip() for name in row]
                    return Header(line=rows.line_num, delimiter=delimiter, names=names, places=places)
        except csv.Error:
            # Perhaps it is CSV with another delimiter.
            continue
    return None


def first_names(text: str) -> str:
    """What the first row that is not empty holds, for a message."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    names = [name.strip() for name in first.split(max(_DELIMITERS, key=first.count)) if name.strip()]
    return ", ".join(repr(name) for name in names[:_MOST_NAMES_SHOWN]) or "nothing"


def plain_cell(cell: str) -> str:
    """A cell without blanks around it, and without the apostrophe by which a spreadsheet keeps a number as text."""
    return cell.strip().removeprefix("'").strip()


def _is(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _plain(name: str) -> str:
    return name.strip().casefold()
