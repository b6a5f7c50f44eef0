"""A statement of the platform as a file: CSV with a header, as `worker.cli.csv_header` reads it."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.adapters.error_text import one_line
from worker.cli.csv_header import USUAL_NAMES, Header, encoding_of, find_header, first_names
from worker.cli.errors import CommandError

OPTIONS = {"request_id": "--id-column", "state": "--state-column", "amount": "--amount-column"}


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
    """The rows below the header; `columns` has a name for each of `OPTIONS` that was given one.

    A row that ends early has empty cells; one without any text is passed over. Raises CommandError, at once for the
    header, and for a row that is no CSV when it comes.
    """
    text = _decoded(content)
    names = {column: [given] if given else USUAL_NAMES[column] for column, given in columns.items()}
    header = find_header(text, names, lambda places: all(len(found) == 1 for found in places.values()))
    if header is None:
        options = ", ".join(f"{option} NAME" for option in OPTIONS.values())
        names_shown = first_names(text)
        raise CommandError(
            one_line(
                "the statement has no header that names each column once;"
                f" its first row has {names_shown}: give {options}"
            ),
            status=2,
        )
    return (_cells(line, row, header) for line, row in _rows(text, header) if any(cell.strip() for cell in row))


def _cells(line: int, row: Sequence[str], header: Header) -> Cells:
    # 2,94 without quotes is two cells, and the amount would be the first of them.
    width = len(header.names)
    more = any(cell.strip() for cell in row[width:])
    fault = f"row: it has {len(row)} cells, while the header has {width}" if more else None
    named = {name: row[place] if place < len(row) else "" for name, (place,) in header.places.items()}
    return Cells(line=line, fault=fault, **named)


def _decoded(content: bytes) -> str:
    try:
        return content.decode(encoding_of(content.splitlines())).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise CommandError("the statement is neither UTF-8 nor GB18030: save it as CSV in one of these") from None


def _rows(text: str, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header with the number of its last line."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=header.delimiter, strict=True)
    try:
        for row in rows:
            if rows.line_num > header.line:
                yield rows.line_num, row
    except csv.Error as error:
        raise CommandError(f"line {rows.line_num} of the statement is no CSV ({error}): save it as CSV again") from None
