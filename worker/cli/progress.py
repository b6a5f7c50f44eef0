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


class _Shown:
    """A line that goes away at the end."""

    def __init__(self, *columns: bars.ProgressColumn) -> None:
        self._bar = bars.Progress(
            *columns,
            bars.TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class Progress(_Shown):
    """A bar."""

    def __init__(self, size: int | None) -> None:
        """`size` of the whole, in bytes; None where nobody knows it."""
        super().__init__(bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn())
        self._task = self._bar.add_task("0 accepted", total=size)

    def show(self, done: int, counts: Counts) -> None:
        """Show how many bytes are done, and what came of them."""
        words = f"{counts.accepted:,} accepted, {counts.duplicates:,} duplicates, {counts.rejected:,} refused"
        self._bar.update(self._task, completed=done, description=words)


class Spinner(_Shown):
    """That something goes on, where nobody knows how much there is to do."""

    def __init__(self) -> None:
        super().__init__(bars.SpinnerColumn(), bars.TextColumn("{task.description}"))
        self._task = self._bar.add_task("looking for orders", total=None)

    def show(self, words: str) -> None:
        """Show what is done so far."""
        self._bar.update(self._task, description=words)
