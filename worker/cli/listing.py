"""Lists: as CSV for spreadsheets, or a page at a time. A CSV is no page: it has all.

CSV is UTF-8 with a byte order mark, by which Excel knows the encoding.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from worker.adapters.shown_values import csv_parts
from worker.cli.output import shown_zone

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV for spreadsheets, and nothing else, on standard output.")]


def require_one_format(as_json: bool, as_csv: bool) -> None:
    """Raise BadParameter where two forms of output are asked for."""
    if as_json and as_csv:
        raise typer.BadParameter("give either --json or --csv")


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Print these columns of the rows, a header first; values are as a table has them.

    A text that begins with `=`, `+`, `-` or `@`, full-width or not, gets a leading apostrophe; amounts and other
    numbers do not.
    """
    for part in csv_parts(columns, rows, shown_zone()):
        # As bytes: the terminal's own encoding is not UTF-8 everywhere.
        typer.echo(part, nl=False)


Row = TypeVar("Row")

PAGE_ROWS = 20

After = Annotated[
    int | None, typer.Option(metavar="ID", min=1, help="Go on after this row: the last one of the page before.")
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, max=10_000, help=f"How many rows to show at most. Default: {PAGE_ROWS}, and with --csv all."),
]


def cut(rows: Sequence[Row], limit: int) -> tuple[list[Row], bool]:
    """At most so many rows, and whether there were more: so read one more than are shown."""
    return list(rows[:limit]), len(rows) > limit


def name_next_page(last: Any, hint: str = "") -> None:
    """Say on standard error which option goes on behind the row of this id."""
    typer.echo(f"More follow: --after {last}{hint}", err=True)
