"""The pages of lists: how long one is, behind which row it begins, and how to go on. A CSV is no page: it has all."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import typer

Row = TypeVar("Row")

PAGE_ROWS = 20

After = Annotated[
    int | None, typer.Option(metavar="ID", min=1, help="Go on after this row: the last one of the page before.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        help=f"How many rows to show at most. Default: {PAGE_ROWS}, and with --csv all.",
        show_default=False,
    ),
]


def cut(rows: Sequence[Row], limit: int) -> tuple[list[Row], bool]:
    """At most so many rows, and whether there were more: so read one more than are shown."""
    return list(rows[:limit]), len(rows) > limit


def name_next_page(last: Any, hint: str = "") -> None:
    """Say on standard error which option goes on behind the row of this id."""
    typer.echo(f"More follow: --after {last}{hint}", err=True)
