"""Print a command's output: JSON for programs, tables for people, and its progress.

The printed texts come from outside. So a table never treats a text as markup, and both JSON and tables escape control
characters. An id is kept on one line, so that a person can copy it.
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
from enum import Enum, StrEnum
from functools import partial
from itertools import zip_longest
from typing import Annotated

import typer
from rich import progress as bars
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

from worker.adapters import shown_values
from worker.adapters.safe_text import CONTROLS, one_line
from worker.domain.records.sentences import Sentence
from worker.domain.wire.fields import amount_text
from worker.settings.reading import language
from worker.words import Skin, sentences
from worker.words.catalogue import (
    COMMANDS,
    COUNTED,
    ENTRIES,
    HEADERS,
    LANGUAGE_OF_THE_CODE,
    QUERY_OUTCOMES,
    message,
    translations,
)

# `OneLineGroup` runs each command in a context of its own, so these values do not reach the next command.
_zone: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
_language: ContextVar[str | None] = ContextVar("language", default=None)


def for_programs(wanted: bool) -> bool:
    """Make the command print English. The `callback` of options, such as --json, whose output is for programs."""
    if wanted:
        _language.set(LANGUAGE_OF_THE_CODE)
    return wanted


AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print JSON, and nothing else, on standard output.", callback=for_programs, is_eager=True
    ),
]

LONGEST_IN_A_COLUMN = 32
"""The greatest width of an id within a table, in columns of the terminal. A longer id gets a line of its own, so that
the table's other columns have room."""

# Output that does not go to a terminal has no width to fit. Only very long lines are broken.
_WIDTH_WITHOUT_TERMINAL = 250
_STYLES = {"succeeded": "green", "failed": "red", "unresolved": "yellow", "cancelled": "dim"}
_GAP = "  "
_INDENT = "    "
_NARROWEST = 6
# Lines are broken after white space, and after a comma, because the platform's texts may be JSON without blanks.
# Chinese has no blanks. It is broken after any character, except before a punctuation mark.
_WIDE = "\u2e80-\uffef"
_PIECE = re.compile(rf"(?:[{_WIDE}]|[^\s,{_WIDE}]*,|[^\s,{_WIDE}]+)[，。：；、？！）”]*|\s+")


def show_times_in(zone: tzinfo) -> None:
    """Show times to people in this zone from now on. A session calls this when it opens."""
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
    # Keep line ends, because they all come from `json.dumps` itself. Other control characters can only be inside JSON
    # strings, where an escape stands for the same character.
    typer.echo(CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text))


def spoken_language() -> str:
    """The language of this command: `zh` or `en`."""
    spoken = _language.get() or (language() if _prints_chinese() else LANGUAGE_OF_THE_CODE)
    _language.set(spoken)
    return spoken


def _prints_chinese() -> bool:
    """Whether standard output can show Chinese. It cannot in a Big5 locale, which lacks the simplified characters."""
    try:
        "简体".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _translate(message: str) -> str:
    return translations(spoken_language()).gettext(message)


SKIN = Skin(translate=_translate, remedies=COMMANDS, time=time_text)
"""The words of the command line: in the reader's language, or in English for programs."""
duration_text = SKIN.duration
text = SKIN.text
in_words = SKIN.say


def say(message: str, *values: object, err: bool = False) -> None:
    """Print a sentence."""
    typer.echo(in_words(Sentence(message, *values)), err=err)


def detail_of(detail: str | None) -> str | None:
    """The detail of an event or an act in words. In English, this is the stored text, in which only times are
    rewritten."""
    own = sentences.with_times if spoken_language() == LANGUAGE_OF_THE_CODE else sentences.detail_text
    return own(detail, SKIN) or None


def stored_name(name: str, english: str) -> str:
    """A stored name, such as `pending`, in the reader's language; in English it stays as it is."""
    return name if spoken_language() == LANGUAGE_OF_THE_CODE or not english else text(english)


def word_of(kind: type[StrEnum], name: str) -> str:
    """The word for the enum member whose value is `name`; `name` itself if the enum has no such member."""
    return value_text(kind(name)) if name in list(kind) else name


def outcome_name(outcome: str | None) -> str:
    """The outcome of a query in words; empty for None."""
    return "" if outcome is None else stored_name(outcome, QUERY_OUTCOMES.get(outcome, outcome))


def header(column: str, listed: str = "") -> str:
    """The title of a column. `listed` is the kind of rows in the table, such as `events`; it may have its own
    titles."""
    title = HEADERS.get(f"{listed}_{column}") or HEADERS.get(column, "")
    return stored_name(column.replace("_", " "), title)


def warn(message: str, *values: object) -> None:
    """Print a warning on standard error."""
    typer.echo(text("Warning: %(what)s", one_line(in_words(Sentence(message, *values)))), err=True)


pause_in_words = partial(sentences.pause_in_words, skin=SKIN)


def counted(count: int, word: str) -> Sentence:
    """A number of things: `1 order`, `2,000 orders`."""
    return Sentence(COUNTED[word][count != 1], f"{count:,}")


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
    listed: str = "",
) -> None:
    """Print rows as a table. `columns` are keys of the rows. Times are printed as `time_text` writes them.

    Words in the columns `ids` are broken only if nothing else helps. If such a word is wider than
    `LONGEST_IN_A_COLUMN`, its cell moves to a line of its own above the row. The columns `long_texts` are printed below
    each row if the terminal is too narrow for all columns.
    """
    titles = {name: Text(header(name, listed), style="bold") for name in columns}
    drawn, above = _without_long_ids([{name: _cell(row[name]) for name in columns} for row in rows], ids)
    texts = {name: [row[name] for row in [titles, *drawn]] for name in columns}
    natural = sum(max(text.cell_len for text in held) for held in texts.values())
    fits = natural + len(_GAP) * (len(columns) - 1) <= out.width
    below = [] if fits else [name for name in columns if name in long_texts]
    widths = _fitted({name: held for name, held in texts.items() if name not in below}, ids, out.width)
    if title is not None:
        _print(out, Text(title, style="bold"))
    _print_row(out, titles, widths)
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
    """Print names and values, one pair a line, without pairs whose value is None.

    If a word of a value does not fit beside the name, the value is printed unbroken on the line below the name.
    """
    shown = {header(name): _cell(value) for name, value in fields.items() if value is not None}
    width = max(map(cell_len, shown), default=0)
    value_width = max(1, out.width - width - len(_GAP))
    for name, value in shown.items():
        label = Text(set_cell_size(name, width), style="dim")
        if _longest_word(value) > value_width:
            _print(out, label)
            _print(out, value)
            continue
        for line in wrapped(value.plain, value_width):
            _print(out, Text.assemble(label, _GAP, (line, value.style)))
            label = Text(" " * width)


def wrapped(whole: str, width: int, *, breaks_words: bool = True) -> list[str]:
    """Split a text into lines of at most `width` columns of the terminal. Only a word that is too long for a line is
    broken; if `breaks_words` is False, it gets a longer line instead."""
    width = max(1, width)
    lines = [""]
    for piece in _PIECE.findall(whole):
        if cell_len(lines[-1]) + cell_len(piece) <= width:
            lines[-1] += piece
        elif cell_len(piece.strip()) <= width or not breaks_words:
            lines.append(piece.lstrip())
        else:
            lines.extend(chop_cells(piece, width))
    return [line.rstrip() for line in lines if line.strip()] or [""]


@contextmanager
def progress(words: str, *, of_bytes: bool = False, size: int | None = None) -> Iterator[Callable[[str, int], None]]:
    """Show the progress of a long command on standard error until the block ends, if standard error is a terminal.

    Yields a function that takes the progress in words, and the number of bytes done so far. With `of_bytes`, a bar
    shows these bytes. `size` is the number of all bytes; None if it is unknown.
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
    """A value as a table shows it. Times are shown by `time_text`."""
    if isinstance(value, bool):
        return text("yes") if value else text("no")
    if isinstance(value, Enum) and type(value) in ENTRIES:
        return stored_name(str(value), message(value))
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
    """The rows with each long id replaced by an empty cell, and the long ids of each row."""
    long = [[name for name in row if name in ids and _longest_word(row[name]) > LONGEST_IN_A_COLUMN] for row in rows]
    left = [{**row, **{name: Text("") for name in names}} for row, names in zip(rows, long, strict=True)]
    return left, [[row[name] for name in names] for row, names in zip(rows, long, strict=True)]


def _fitted(columns: Mapping[str, Sequence[Text]], ids: Collection[str], total: int) -> dict[str, int]:
    """The widths of the columns, with which a row fits into `total`. A column becomes narrower than its longest word
    only if nothing else helps; the columns `ids` come last."""
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
    # With `soft_wrap`, Rich does not break the line; the terminal may.
    out.print(line, soft_wrap=True)


def _longest_word(text: Text) -> int:
    return max(map(cell_len, text.plain.split()), default=0)
