"""How far a long command is: on a terminal only, and on standard error, so that the data stays clean."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console


@contextmanager
def bar(size: int | None) -> Iterator[Callable[[int, str], None]]:
    """A bar; call what it yields with the bytes that are done, and with words. `size` is bytes; None: nobody knows."""
    with _shown(bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn()) as shown:
        task = shown.add_task("0 accepted", total=size)
        yield lambda done, words: shown.update(task, completed=done, description=words)


@contextmanager
def spinner() -> Iterator[Callable[[str], None]]:
    """That something goes on, where nobody knows how much there is to do; call what it yields with words."""
    with _shown(bars.SpinnerColumn(), bars.TextColumn("{task.description}")) as shown:
        task = shown.add_task("looking for orders", total=None)
        yield lambda words: shown.update(task, description=words)


def _shown(*columns: bars.ProgressColumn) -> bars.Progress:
    """A line that goes away at the end."""
    is_hidden = not sys.stderr.isatty()
    console = Console(stderr=True)
    return bars.Progress(*columns, bars.TimeElapsedColumn(), console=console, transient=True, disable=is_hidden)
