"""Write rows as a file for Excel (XLSX). The file is written row by row, so memory does not grow with the number of
rows.

All texts are written as text cells. So Excel evaluates no formula, and does not show an id of 16 digits as 2.01601E+15.
A cell holds up to 32,767 characters; longer texts are cut.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import IO, Any

from xlsxwriter import Workbook
from xlsxwriter.format import Format

from worker.adapters.shown_values import value_text

_AMOUNT, _TIME, _TEXT, _NUMBER = "0.00##", "yyyy-mm-dd hh:mm:ss", "@", "0"
_Formats = Mapping[tuple[str, bool], Format]
"""Maps a number format, and whether the text is bold, to the format of a cell."""
_WIDEST, _TIME_WIDTH, _MARGIN = 60, 19, 2
# Excel stores numbers exactly if they have up to this many digits.
_DIGITS = 15
_OPTIONS = {"constant_memory": True, "use_zip64": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class XlsxFile:
    """The contents of a file, except its rows."""

    name: str
    """The name of the sheet, at most 25 characters."""
    headers: Mapping[str, str]
    """The columns to write, in this order, with their headers."""
    zone: tzinfo
    """The zone in which times are written, because Excel has no time zones."""
    totals: Callable[[], Sequence[Mapping[str, object]]] = tuple
    """Returns the rows of totals, which are written below the other rows, after an empty row. They need not have all
    columns. Called after all other rows are read."""
    about_name: str
    about: Callable[[], Iterable[tuple[str, object]]]
    """Returns the names and values that the last sheet lists, such as the filters. Called after all rows are read."""


def write_xlsx(file: IO[bytes], described: XlsxFile, rows: Iterable[Mapping[str, object]]) -> None:
    """Write the file, with up to 1,048,000 rows. While the file is written, data that is not compressed yet is in the
    folder for temporary files. This data is removed at the end.

    Raises OSError if no space is left, and whatever `rows` raises.
    """
    with TemporaryDirectory() as own:
        book = Workbook(file, {**_OPTIONS, "tmpdir": own})
        try:
            _write_sheets(book, described, rows)
        except BaseException:
            # Only the temporary files are closed: closing the book would write the whole file, which is no longer
            # wanted.
            parts: list[Any] = [sheet.row_data_fh for sheet in book.worksheets()]
            for part in parts:
                part.close()
            raise
        book.close()


def _write_sheets(book: Workbook, described: XlsxFile, rows: Iterable[Mapping[str, object]]) -> None:
    headers, zone = described.headers, described.zone
    kinds = itertools.product((_AMOUNT, _TIME, _TEXT, _NUMBER), (False, True))
    formats = {kind: book.add_format({"num_format": kind[0], "bold": kind[1]}) for kind in kinds}
    sheet, last = _Sheet(book, described.name, formats, zone), 0
    sheet.put(0, headers.values(), is_bold=True)
    for last, row in enumerate(rows, start=1):
        sheet.put(last, map(row.get, headers))
    sheet.keep_header(last, len(headers))
    for below, row in enumerate(described.totals(), start=last + 2):
        sheet.put(below, map(row.get, headers), is_bold=True)
    sheet.fit()
    about = _Sheet(book, described.about_name, formats, zone)
    for at, pair in enumerate(described.about()):
        about.put(at, pair)
    about.fit()


class _Sheet:
    """A sheet, and the widths that its columns need."""

    def __init__(self, book: Workbook, name: str, formats: _Formats, zone: tzinfo) -> None:
        self._sheet = book.add_worksheet(name)
        self._formats, self._zone = formats, zone
        self._widths: dict[int, int] = defaultdict(int)

    def put(self, row: int, values: Iterable[object], *, is_bold: bool = False) -> None:
        """Write the values of a row, each by its type."""
        for column, value in enumerate(values):
            if value is not None and value != "":
                width = self._put(row, column, value, is_bold)
                self._widths[column] = max(self._widths[column], width)

    def _put(self, row: int, column: int, value: object, is_bold: bool) -> int:
        if isinstance(value, datetime):
            local = value.astimezone(self._zone).replace(tzinfo=None, microsecond=0)
            self._sheet.write_datetime(row, column, local, self._formats[_TIME, is_bold])
            return _TIME_WIDTH
        if isinstance(value, Decimal | int) and _is_exact(value):
            shape = _AMOUNT if isinstance(value, Decimal) else _NUMBER
            self._sheet.write_number(row, column, float(value), self._formats[shape, is_bold])
            return len(str(value))
        text = value_text(value, self._zone)
        # The library takes a text between these two tags for its own markup, and does not escape it. A blank at the end
        # prevents this.
        is_markup = text.startswith("<r>") and text.endswith("</r>")
        self._sheet.write_string(row, column, f"{text} " if is_markup else text, self._formats[_TEXT, is_bold])
        # A Chinese character is as wide as two Latin characters, and has two bytes in GBK.
        return min(len(text[:_WIDEST].encode("gbk", "replace")), _WIDEST)

    def keep_header(self, last: int, columns: int) -> None:
        """Freeze the header, add a filter for the rows, and turn off Excel's warning about ids that have only
        digits."""
        self._sheet.freeze_panes(1, 0)
        self._sheet.autofilter(0, 0, last, columns - 1)
        self._sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})

    def fit(self) -> None:
        """Give each column the width that its longest value needs."""
        for column, width in self._widths.items():
            self._sheet.set_column(column, column, width + _MARGIN)


def _is_exact(value: Decimal | int) -> bool:
    """Whether Excel stores a number exactly."""
    return not isinstance(value, bool) and len(Decimal(value).normalize().as_tuple().digits) <= _DIGITS
