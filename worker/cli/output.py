"""What a command prints: JSON for programs, tables for people, and its progress.

Texts come from outside: a table prints them as they are, never as markup; both escape control characters. An id is
never broken over lines, so that a person can copy it.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import partial
from itertools import zip_longest
from typing import Annotated

import typer
from rich import progress as bars
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from worker.adapters import shown_values
from worker.adapters.log_redaction import CONTROLS
from worker.domain.wire.fields import amount_text
from worker.words import ENGLISH, Skin, next_step
from worker.words.catalogue import COMMANDS

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
InUtc = Annotated[bool, typer.Option("--utc", help="Show times in UTC instead of RECONCILER_TIMEZONE.")]
"""For `session(utc=utc)`; `utc or as_json` where words that go into JSON name times, which are in UTC there."""

LONGEST_IN_A_COLUMN = 32
"""Columns of the terminal. A longer id gets a line of its own: its column would leave no width to the others."""

# Without a terminal there is nothing to fit: lines are not cut.
_WIDTH_WITHOUT_TERMINAL = 250
_STYLES = {"succeeded": "green", "failed": "red", "unresolved": "yellow", "cancelled": "dim"}
_GAP = "  "
_INDENT = "    "
_NARROWEST = 6
# A line may end after white space or a comma: the platform's texts come as JSON without a blank.
_PIECE = re.compile(r"[^\s,]*,|[^\s,]+|\s+")
# A command line runs in a context of its own (`OneLineGroup`), so it leaves no zone behind for the next one.
_zone: ContextVar[tzinfo] = ContextVar("zone", default=UTC)


def show_times_in(zone: tzinfo) -> None:
    """From now on this command shows times to people in this zone; a session says so when it opens."""
    _zone.set(zone)


def shown_zone() -> tzinfo:
    """The zone in which this command shows times to people."""
    return _zone.get()


def time_text(time: datetime) -> str:
    """A time as a person reads it, to the second: `2016-01-31 18:00:00+08`, or with Z in UTC."""
    return shown_values.time_text(time, shown_zone())


def print_json(value: object) -> None:
    """Print JSON: amounts are strings, times ISO 8601 with an offset."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=not is_unicode, indent=2, default=_to_json)
    # Line ends can only be json's own here. Other control characters are in strings, where this escape means the same.
    typer.echo(CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text))


SKIN = Skin(translate=ENGLISH.translate, remedies=COMMANDS, time=time_text)
"""The command line, in English."""
duration_text = SKIN.duration
pause_in_words = partial(next_step.pause_in_words, skin=SKIN)


def counted(count: int, word: str) -> str:
    """A number of things: `1 order`, `2,000 orders`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def console() -> Console:
    """Standard output for tables."""
    out = Console(highlight=False, markup=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _WIDTH_WITHOUT_TERMINAL
    return out


def print_table(
    out: Console,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    *,
    title: str | None = None,
    ids: Collection[str] = (),
    long_texts: Collection[str] = (),
) -> None:
    """Print rows under these columns, each named by its key in the rows; times are as `time_text` has them.

    `ids` are columns whose words are kept whole; a word longer than `LONGEST_IN_A_COLUMN` puts its cell on a line of
    its own above its row. `long_texts` are columns that are printed below each row where the terminal is too narrow for
    all.
    """
    header = {name: Text(name.replace("_", " "), style="bold") for name in columns}
    drawn, above = _without_long_ids([{name: _cell(row[name]) for name in columns} for row in rows], ids)
    texts = {name: [row[name] for row in [header, *drawn]] for name in columns}
    natural = sum(max(text.cell_len for text in held) for held in texts.values())
    fits = natural + len(_GAP) * (len(columns) - 1) <= out.width
    below = [] if fits else [name for name in columns if name in long_texts]
    widths = _fitted({name: held for name, held in texts.items() if name not in below}, ids, out.width)
    if title is not None:
        _print(out, Text(title, style="bold"))
    _print_row(out, header, widths)
    _print(out, Text("─" * (sum(widths.values()) + len(_GAP) * (len(widths) - 1)), style="dim"))
    for row, long_ids in zip(drawn, above, strict=True):
        for text in long_ids:
            _print(out, text)
        _print_row(out, row, widths)
        for name in (name for name in below if row[name]):
            for line in wrapped(row[name].plain, out.width - len(_INDENT)):
                _print(out, Text(f"{_INDENT}{line}"))
    out.print()


def print_fields(out: Console, fields: Mapping[str, object]) -> None:
    """Print names and values, one pair a line, without those that are empty.

    A value with a word that does not fit beside its name is printed on a line of its own, unbroken.
    """
    shown = {name.replace("_", " "): _cell(value) for name, value in fields.items() if value is not None}
    width = max(map(len, shown), default=0)
    value_width = max(1, out.width - width - len(_GAP))
    for name, value in shown.items():
        label = Text(name.ljust(width), style="dim")
        if _longest_word(value) > value_width:
            _print(out, label)
            _print(out, value)
            continue
        for line in wrapped(value.plain, value_width):
            _print(out, Text.assemble(label, _GAP, (line, value.style)))
            label = Text(" " * width)


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of so many columns of the terminal, broken within a word only where that is too long for one."""
    width = max(1, width)
    lines = [""]
    for piece in _PIECE.findall(text):
        if cell_len(lines[-1]) + cell_len(piece) <= width:
            lines[-1] += piece
        elif cell_len(piece.strip()) <= width:
            lines.append(piece.lstrip())
        else:
            lines.extend(chop_cells(piece, width))
    return [line.rstrip() for line in lines if line.strip()] or [""]


@contextmanager
def progress(words: str, *, of_bytes: bool = False, size: int | None = None) -> Iterator[Callable[[str, int], None]]:
    """Show the progress of a long command until its end: on a terminal only, on standard error, apart from the data.

    Yields a function of the progress in words and a number of bytes. `of_bytes` draws a bar for these, of `size` in
    all; None where it is not known.
    """
    bar = (bars.BarColumn(), bars.DownloadColumn()) if of_bytes else ()
    columns = (*(() if bar else (bars.SpinnerColumn(),)), bars.TextColumn("{task.description}"), *bar)
    is_hidden = not sys.stderr.isatty()
    with bars.Progress(
        *columns, bars.TimeElapsedColumn(), console=Console(stderr=True), transient=True, disable=is_hidden
    ) as shown:
        task = shown.add_task(words, total=size)
        yield lambda words, done: shown.update(task, description=words, completed=done)


def _cell(value: object) -> Text:
    return Text(value_text(value), style=_STYLES.get(str(value), ""))


def value_text(value: object) -> str:
    """A value as a table shows it; times are as `time_text` has them."""
    return shown_values.value_text(value, shown_zone())


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return amount_text(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _without_long_ids(
    rows: Sequence[Mapping[str, Text]], ids: Collection[str]
) -> tuple[list[dict[str, Text]], list[list[Text]]]:
    """The rows without their long ids, and the long ids of each row."""
    long = [[name for name in row if name in ids and _longest_word(row[name]) > LONGEST_IN_A_COLUMN] for row in rows]
    left = [{**row, **{name: Text("") for name in names}} for row, names in zip(rows, long, strict=True)]
    return left, [[row[name] for name in names] for row, names in zip(rows, long, strict=True)]


def _fitted(columns: Mapping[str, Sequence[Text]], ids: Collection[str], total: int) -> dict[str, int]:
    """The columns' widths. Words are broken only where there is no other way, and those of ids last."""
    widths = {name: max(text.cell_len for text in texts) for name, texts in columns.items()}
    words = {name: max(map(_longest_word, texts)) for name, texts in columns.items()}
    broken = {name: words[name] if name in ids else min(words[name], _NARROWEST) for name in columns}
    total -= len(_GAP) * (len(columns) - 1)
    for least in (words, broken, dict.fromkeys(columns, 1)):
        while sum(widths.values()) > total:
            wide = [name for name in columns if widths[name] > least[name]]
            if not wide:
                break
            widths[max(wide, key=lambda name: widths[name])] -= 1
    return widths


def _print_row(out: Console, row: Mapping[str, Text], widths: Mapping[str, int]) -> None:
    for pieces in zip_longest(*(wrapped(row[name].plain, width) for name, width in widths.items()), fillvalue=""):
        texts = [
            Text(piece + " " * (width - cell_len(piece)), style=row[name].style)
            for piece, (name, width) in zip(pieces, widths.items(), strict=True)
        ]
        _print(out, Text(_GAP).join(texts))


def _print(out: Console, line: Text) -> None:
    line.rstrip()
    # Rich must not break it; the terminal may.
    out.print(line, soft_wrap=True)


def _longest_word(text: Text) -> int:
    return max(map(cell_len, text.plain.split()), default=0)
