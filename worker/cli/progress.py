"""How far a long command is: on a terminal only, and on standard error, so that the data stays clean."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich import progress as bars
from rich.console import Console


class Counts(Protocol):
    """What is counted so far."""

    accepted: int
    duplicates: int
    rejected: int


class Progress:
    """A bar that goes away at the end."""

    def __init__(self, size: int | None) -> None:
        """`size` of the whole, in bytes; None where nobody knows it."""
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.DownloadColumn(),
            bars.TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("0 accepted", total=size)

    def show(self, done: int, counts: Counts) -> None:
        """Show how many bytes are done, and what came of them."""
        words = f"{counts.accepted:,} accepted, {counts.duplicates:,} duplicates, {counts.rejected:,} refused"
        self._bar.update(self._task, completed=done, description=words)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
