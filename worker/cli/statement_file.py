"""A statement of the platform as a file: CSV with a header, in the encodings that Chinese back offices write."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from worker.adapters.error_text import one_line
from worker.cli.errors import CommandError

USUAL_COLUMNS: Mapping[str, Sequence[str]] = {
    "request_id": ("request_id", "requestId", "request id"),
    "state": ("state", "status", "trafficSts"),
    "amount": ("amount", "oriAmount"),
}
"""What each column may be called without being told so."""
OPTIONS = {"request_id": "--id-column", "state": "--state-column", "amount": "--amount-column"}

# GB18030 holds GBK and GB2312.
_ENCODINGS = ("utf-8-sig", "gb18030")
_DELIMITERS = (",", "\t", ";")
# Before the header there may be a title, the customer's name, the period.
_HEADER_WITHIN_ROWS = 20
_MOST_NAMES_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """The three cells of a row that are compared, as text."""

    line: int
    request_id: str
    state: str
    amount: str
    fault: str | None = None
    """Why the row cannot be compared, whatever its cells hold."""


def read_cells(content: bytes, columns: Mapping[str, str | None]) -> Iterator[Cells]:
    """The rows below the header; `columns` has a name for each of `USUAL_COLUMNS` that was given one.

    A row that ends early has empty cells; one without any text is passed over. Raises CommandError, at once for the
    header, and for a row that is no CSV when it comes.
    """
    rows = _rows(_decoded(content))
    places, width = _places(rows, {name: _names(name, given) for name, given in columns.items()})
    return (_cells(line, row, places, width) for line, row in rows if any(cell.strip() for cell in row))


def _cells(line: int, row: Sequence[str], places: Mapping[str, int], width: int) -> Cells:
    # 2,94 without quotes is two cells, and the amount would be the first of them.
    more = any(cell.strip() for cell in row[width:])
    fault = f"row: it has {len(row)} cells, while the header has {width}" if more else None
    named = {name: row[place] if place < len(row) else "" for name, place in places.items()}
    return Cells(line=line, fault=fault, **named)


def _decoded(content: bytes) -> str:
    for encoding in _ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CommandError("the statement is neither UTF-8 nor GB18030: save it as CSV in one of these")


def _delimiter(text: str) -> str:
    """The one that the first lines have most of; a comma where none has any."""
    head = "".join(io.StringIO(text).readlines()[:_HEADER_WITHIN_ROWS])
    return max(_DELIMITERS, key=head.count)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its last line."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise CommandError(f"line {rows.line_num} of the statement is no CSV ({error}): save it as CSV again") from None


def _names(column: str, given: str | None) -> set[str]:
    return {_plain(name) for name in ([given] if given else USUAL_COLUMNS[column])}


def _places(rows: Iterator[tuple[int, list[str]]], wanted: Mapping[str, set[str]]) -> tuple[dict[str, int], int]:
    """Where each column stands in a row, by the first row that has a name for all of them; and that row's length."""
    first: list[str] = []
    for _, row in islice(rows, _HEADER_WITHIN_ROWS):
        names = [_plain(name) for name in row]
        if all(names.count(name) < 2 for name in set().union(*wanted.values())):
            found = {column: [names.index(name) for name in named if name in names] for column, named in wanted.items()}
            if all(len(places) == 1 for places in found.values()):
                return {column: places[0] for column, places in found.items()}, len(row)
        first = first or [name.strip() for name in row if name.strip()]
    shown = ", ".join(repr(name) for name in first[:_MOST_NAMES_SHOWN]) or "nothing"
    options = ", ".join(f"{option} NAME" for option in OPTIONS.values())
    raise CommandError(
        one_line(f"the statement has no header that names each column once; its first row has {shown}: give {options}"),
        status=2,
    )


def _plain(name: str) -> str:
    return name.strip().casefold()
