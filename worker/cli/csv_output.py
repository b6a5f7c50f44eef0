"""Rows as CSV, for spreadsheets: UTF-8 with a byte order mark, by which Excel knows the encoding."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated

import typer

from worker.cli.output import value_text

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV for spreadsheets, and nothing else, on standard output.")]

_BYTE_ORDER_MARK = "\ufeff"
# A spreadsheet takes a text that begins with one of these for a formula, and runs it.
_FORMULA_BEGINS = ("=", "+", "-", "@")
_ROWS_AT_ONCE = 1000


def require_one_format(as_json: bool, as_csv: bool) -> None:
    """Raise BadParameter where two forms of output are asked for."""
    if as_json and as_csv:
        raise typer.BadParameter("give either --json or --csv")


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Print these columns of the rows, a header first; values are as a table has them.

    A text that begins with `=`, `+`, `-` or `@` gets a leading apostrophe; amounts and other numbers do not.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    text.write(_BYTE_ORDER_MARK)
    writer.writerow(columns)
    for number, row in enumerate(rows, start=1):
        writer.writerow([_cell(row[name]) for name in columns])
        if number % _ROWS_AT_ONCE == 0:
            _print(text)
    _print(text)


def _cell(value: object) -> str:
    text = value_text(value)
    is_number = isinstance(value, (int, float, Decimal))
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) and not is_number else text


def _print(text: io.StringIO) -> None:
    # As bytes: the terminal's own encoding is not UTF-8 everywhere.
    typer.echo(text.getvalue().encode(), nl=False)
    text.seek(0)
    text.truncate()
