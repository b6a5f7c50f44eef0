"""The pages of lists: how long one is, and behind which row it begins."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

After = Annotated[
    int | None, typer.Option(metavar="ID", min=1, help="Go on after this row: the last one of the page before.")
]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many rows to show at most.")]


def name_next_page(rows: Sequence[Mapping[str, Any]], limit: int, hint: str = "") -> None:
    """Where a page is full, print the option that shows the next one, and a hint behind it."""
    if len(rows) == limit:
        typer.echo(f"The next page: --after {rows[-1]['id']}{hint}")
