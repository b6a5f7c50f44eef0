"""A statement of the platform: CSV with a header, read row by row."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import BinaryIO

from worker.adapters.csv_header import USUAL_NAMES, UTF_8, Header, encoding_of, find_header, first_names
from worker.adapters.safe_text import one_line
from worker.domain.finance.report import StatementRow, UnreadableRow
from worker.domain.finance.statements import StateWords, plain_id, read_row
from worker.domain.records.sentences import Refusal, _

COLUMNS = ("request_id", "state", "amount")
_HEAD_CHARACTERS = 1 << 18
# A row is held as its cells, of which each takes more than the comma behind it.
_ROW_CHARACTERS = 1 << 16
_UNREADABLE = _("the statement is neither UTF-8 nor GB18030: save it as CSV in one of these")


class StatementFault(Refusal):
    """The file is no statement that can be read."""


class NoHeader(StatementFault):
    """No row names each column once."""


def read_rows(
    file: BinaryIO, columns: Mapping[str, str | None], words: StateWords
) -> Iterator[StatementRow | UnreadableRow]:
    """The rows below the header, which stands in the first 256 KiB or so; `columns` has a name for each of `COLUMNS`
    that was given one. The file can be read from its begin again.

    A row that ends early has empty cells; one without any text is passed over. Raises StatementFault: `NoHeader` at
    once, and any other when its row comes.
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
    # 2,94 without quotes is two cells, and the amount would be the first of them.
    width = len(header.names)
    if any(cell.strip() for cell in row[width:]):
        why = _("row: it has %(count)s cells, while the header has %(header)s", len(row), width)
        return UnreadableRow(line=line, request_id=plain_id(named["request_id"]), why=why)
    return read_row(line, named["request_id"], named["state"], named["amount"], words)


def _rows_below(text: io.TextIOWrapper, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header with the number of its last line."""
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
        # The file is its caller's to close.
        text.detach()


def _no_csv(line: int) -> StatementFault:
    return StatementFault("line %(line)s of the statement is no CSV: save it as CSV again", line)
