"""CSV as Chinese back offices write it: in UTF-8 or GB18030, with commas, tabs or semicolons, and with a title above
the header.

A statement of the platform (its list of orders and results) is read row by row.
"""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import BinaryIO

from worker.adapters.safe_text import one_line
from worker.domain.finance.report import StatementRow, UnreadableRow
from worker.domain.finance.statements import StateWords, plain_id, read_row
from worker.domain.records.sentences import Refusal, _

UTF_8 = "utf-8"
# The encoding GB18030 includes GBK and GB2312.
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
"""The usual names of each column. A column is found by them if the user gives no other name for it."""

_DELIMITERS = (",", "\t", ";")
# The header is searched within this many rows, because a title, the customer's name or the period may come before it.
_WITHIN_ROWS = 20
_MOST_NAMES_SHOWN = 12

COLUMNS = ("request_id", "state", "amount")
"""The columns that a statement of the platform must have."""
_HEAD_CHARACTERS = 1 << 18
# The most characters of one row. The limit is low because in memory a row becomes a list of cells: a row that consists
# only of commas needs many times its length.
_ROW_CHARACTERS = 1 << 16
_UNREADABLE = _("the statement is neither UTF-8 nor GB18030: save it as CSV in one of these")

Places = Mapping[str, Sequence[int]]
"""For each column: the indexes of those cells of a row that contain one of the column's names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The row that names the columns."""

    line: int
    """The number of the header's last line, counted from 1."""
    delimiter: str
    names: Sequence[str]
    """All names in the row, without spaces around them."""
    places: Places


def encoding_of(lines: Iterable[bytes]) -> str:
    """`UTF_8` or `GB18030`: the encoding of most of the lines that are not ASCII. The majority decides because a few
    lines may also be valid in the other encoding, or in neither."""
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
    """Find the header: the first row, among the first 20, that `is_header` accepts; None if it accepts none.
    `is_header` is given the places at which a row has names of these columns.

    `columns` has the possible names of each column. Case and surrounding spaces are ignored when names are compared.
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
            # The text is no CSV with this delimiter, but it may be CSV with another one.
            continue
    return None


def first_names(text: str) -> str:
    """The cells of the first line that is not empty, as a list of names for an error message."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    names = [name.strip() for name in first.split(max(_DELIMITERS, key=first.count)) if name.strip()]
    return ", ".join(repr(name) for name in names[:_MOST_NAMES_SHOWN]) or "nothing"


def plain_cell(cell: str) -> str:
    """A cell without surrounding spaces, and without the apostrophe that makes a spreadsheet keep a number as text."""
    return cell.strip().removeprefix("'").strip()


class StatementFault(Refusal):
    """The file cannot be read as a statement."""


class NoHeader(StatementFault):
    """The file has no header: none of its first rows names each column exactly once."""


def read_rows(
    file: BinaryIO, columns: Mapping[str, str | None], words: StateWords
) -> Iterator[StatementRow | UnreadableRow]:
    """Read the rows below the header. The header must be within the first 262,144 characters. The file must be
    seekable.

    `columns` has the names that were given for `COLUMNS`, or None; a column without a given name is found by its usual
    names. Cells that are missing at a row's end are empty. A row without any text is skipped.

    If there is no header, raises `NoHeader` at once; if the start of the file cannot be decoded, raises StatementFault
    at once. A StatementFault for a later part is raised when the iterator reaches that part.
    """
    encoding = encoding_of(file)
    file.seek(0)
    text = io.TextIOWrapper(file, "utf-8-sig" if encoding == UTF_8 else encoding, newline="")
    names = {column: [given] if (given := columns.get(column)) else USUAL_NAMES[column] for column in COLUMNS}
    try:
        head = text.read(_HEAD_CHARACTERS)
    except UnicodeDecodeError:
        raise StatementFault("%(why)s", _UNREADABLE) from None
    header = find_header(head, names, lambda places: all(len(found) == 1 for found in places.values()))
    if header is None:
        shown = one_line(first_names(head))
        raise NoHeader("the statement has no header that names each column once; its first row has %(names)s", shown)
    text.seek(0)
    rows = ((line, row) for line, row in _rows_below(text, header) if any(cell.strip() for cell in row))
    return (_read(line, row, header, words) for line, row in rows)


def _read(line: int, row: Sequence[str], header: Header, words: StateWords) -> StatementRow | UnreadableRow:
    named = {name: row[place] if place < len(row) else "" for name, (place,) in header.places.items()}
    # A row with more cells than the header is not read. For example, the amount 2,94 without quotes is two cells, and
    # only the 2 would be read as the amount.
    width = len(header.names)
    if any(cell.strip() for cell in row[width:]):
        why = _("row: it has %(count)s cells, while the header has %(header)s", len(row), width)
        return UnreadableRow(line=line, request_id=plain_id(named["request_id"]), why=why)
    return read_row(line, named["request_id"], named["state"], named["amount"], words)


def _rows_below(text: io.TextIOWrapper, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header, after the number of the row's last line."""
    left = _ROW_CHARACTERS

    def lines() -> Iterator[str]:
        nonlocal left
        for number in count(1):
            line = text.readline(left + 1)
            left -= len(line)
            if left < 0:
                raise _no_csv(number)
            if not line:
                return
            yield line

    rows = csv.reader(lines(), delimiter=header.delimiter, strict=True)
    try:
        for row in rows:
            left = _ROW_CHARACTERS
            if rows.line_num > header.line:
                yield rows.line_num, row
    except csv.Error:
        raise _no_csv(rows.line_num) from None
    except UnicodeDecodeError:
        raise StatementFault("%(why)s", _UNREADABLE) from None
    finally:
        # Without `detach`, the wrapper would close the file, which only the caller may close.
        text.detach()


def _no_csv(line: int) -> StatementFault:
    return StatementFault("line %(line)s of the statement is no CSV: save it as CSV again", line)


def _is(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _plain(name: str) -> str:
    return name.strip().casefold()
