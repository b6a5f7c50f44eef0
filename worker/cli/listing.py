"""Print lists: all rows as CSV for spreadsheets, or one page at a time.

CSV is UTF-8 with a byte order mark, by which Excel recognises the encoding.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from worker.adapters.shown_values import csv_parts
from worker.cli.declare import WrongUse
from worker.cli.output import (
    AsJson,
    console,
    print_json,
    print_table,
    say,
    shown_zone,
)
from worker.cli.session import Session, session
from worker.domain.records.sentences import Sentence
from worker.views.page import ROWS_AT_ONCE, Page, every_row

Row = Mapping[str, Any]
_PAGE_ROWS = 20
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV for spreadsheets, and nothing else, on standard output.")]


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Print these columns of the rows as CSV, with a header. Values are the same as in a table.

    A text that begins with `=`, `+`, `-` or `@`, full-width or not, gets a leading apostrophe; amounts and other
    numbers do not.
    """
    for part in csv_parts(columns, rows, shown_zone()):
        # `part` is bytes, not text, because the terminal's own encoding may not be UTF-8.
        typer.echo(part, nl=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The form of a list as CSV and as a table. JSON has the rows unchanged."""

    rows: str
    """The kind of the rows, such as `queries`. Some kinds have their own column titles."""
    none: Sentence
    """The message if there are no rows."""
    csv: Sequence[str]
    columns: Sequence[str]
    """The columns of the table."""
    table_row: Callable[[Any], Mapping[str, object]] = dict
    """Makes a row of the table from a row of the list."""
    ids: Collection[str] = ("account",)
    long_texts: Collection[str] = ()
    title: str | None = None
    at_once: int = ROWS_AT_ONCE
    """How many rows of a complete CSV are read at once."""
    hint: str = ""
    """The text after the option that shows the next page."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """The options for the form of a command's output. Raises WrongUse if two are given."""

    as_json: AsJson = False
    as_csv: AsCsv = False

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise WrongUse("give either --json or --csv")


@dataclass(frozen=True, kw_only=True)
class Paged(Form):
    """The options of every list: its page and its form."""

    after: Annotated[
        int | None, typer.Option(metavar="ID", min=1, help="Go on after this row: the last one of the page before.")
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help=f"How many rows to show at most. Default: {_PAGE_ROWS}, and with --csv all."
        ),
    ] = None

    def session(self, *, needs_accounts: bool = False) -> AbstractContextManager[Session]:
        """Open a session to read the list."""
        return session(needs_accounts=needs_accounts, streams=self.as_csv)

    def read(self, listing: Listing, read: Callable[..., Page[Row]]) -> Page[Row] | None:
        """The page, plus one row if more rows follow; None if the complete list was printed as CSV instead. `read` is
        called with `after` and `most`."""
        if self.as_csv and self.limit is None:
            write_csv(listing.csv, every_row(read, self.after, at_once=listing.at_once))
            return None
        return read(after=self.after, most=(self.limit or _PAGE_ROWS) + 1)

    def show(
        self,
        listing: Listing,
        page: Page[Row] | None,
        *,
        response: Callable[[Sequence[Row]], object] = list,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Print the page, and the option that shows the next page. Exit with status 3 if only a part of the list was
        searched. `response` makes the JSON from the rows. `before` prints the text above a table."""
        if page is None:
            return
        most = self.limit or _PAGE_ROWS
        rows, has_more = page.rows[:most], len(page.rows) > most
        if self.as_json:
            print_json(response(rows))
        elif self.as_csv:
            write_csv(listing.csv, rows)
        else:
            before()
            _print_rows(listing, rows, is_complete=not page.is_partial)
        if has_more:
            say("More follow: --after %(row)s%(hint)s", rows[-1]["id"], listing.hint, err=True)
        if page.searched is not None:
            say(
                "The search took too long and covers at most the newest %(count)s rows: narrow it with"
                " another option. --csv without --limit reads to the end.",
                f"{page.searched:,}",
                err=True,
            )
            # Status 3 means that rows may be missing.
            raise typer.Exit(3)


def _print_rows(listing: Listing, rows: Sequence[Row], *, is_complete: bool) -> None:
    if rows:
        print_table(
            console(),
            listing.columns,
            [listing.table_row(row) for row in rows],
            title=listing.title,
            ids=listing.ids,
            long_texts=listing.long_texts,
            listed=listing.rows,
        )
    elif is_complete:
        say("%(none)s", listing.none)
