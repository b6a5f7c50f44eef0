"""`reconciler enqueue`: take in orders from a file."""

import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from worker.adapters.text_files import os_words
from worker.cli.app import CommandError
from worker.cli.declare import STDIN, WrongUse, file_or_stdin
from worker.cli.order_lines import Columns, Format, Line, RefusedLines, read_lines
from worker.cli.output import (
    AsJson,
    in_words,
    print_json,
    progress,
    say,
)
from worker.cli.session import session
from worker.domain.orders.check_fields import ORDER_FIELDS
from worker.domain.records.sentences import Sentence, _
from worker.process.intake import Intake
from worker.settings.rules import app_ids_of, rules_of

LIST_LENGTH = 500
# A time as Excel and back offices write it; seconds and an offset may follow.
_DAY_AND_TIME = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})(?:T| +)([0-9]{1,2})(:.+)")
_BY_EXTENSION = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        callback=file_or_stdin,
        help="CSV (.csv), UTF-8 or GB18030, or JSON Lines (.jsonl, .ndjson), UTF-8; - is standard input.",
    ),
]
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="What FILE holds, where its name does not say so.")
]
Rejected = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        dir_okay=False,
        help="Where refused lines go; by default FILE.rejected.jsonl, of standard input enqueue.rejected.jsonl.",
    ),
]


def _read_columns(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        column, _, name = value.partition("=")
        if column not in ORDER_FIELDS or not name.strip():
            raise WrongUse("%(value)r is not FIELD=NAME with one of: %(names)s", value, ", ".join(ORDER_FIELDS))
    return values


ColumnNames = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="FIELD=NAME",
        help="What a field's column is called, such as request_id=流水号; may be repeated.",
        callback=_read_columns,
    ),
]
PassOver = Annotated[
    bool, typer.Option("--pass-over", help="Leave columns of other names out; without it they are refused.")
]


@dataclass(kw_only=True, slots=True)
class Tally:
    """The numbers of lines so far, by result."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0

    @property
    def sentence(self) -> Sentence:
        """The numbers of results in words."""
        counts = (f"{one:,}" for one in (self.accepted, self.duplicates, self.rejected))
        return _("%(accepted)s accepted, %(duplicates)s duplicates, %(refused)s refused", *counts)


def enqueue(
    file: File,
    format_: FormatOption = None,
    column: ColumnNames = None,
    pass_over: PassOver = False,
    rejected: Rejected = None,
    as_json: AsJson = False,
) -> None:
    """Take in orders from a file of any size: CSV with a header, or JSON Lines, one order a line.

    The columns of the header, or the keys of the objects, are: request_id, custom_parm or both; mobile (needed if there
    is only a custom_parm); account; submitted_at (ISO 8601, or such as 2016/1/31 9:05; in RECONCILER_TIMEZONE if it has
    no offset); expected_amount (yuan). An empty cell is an absent field. A CSV may come from a Chinese back office: in
    GBK, with semicolons or tabs, with Chinese names, and with a title above them.

    An order that is already known counts as a duplicate and does no harm, so an interrupted run can be repeated.

    Orders are written directly to the database, in lists of 500. They do not go through the broker, because then the
    command could not count its results exactly.

    Refused lines are written with their reasons to a file of JSON Lines; then the exit status is 1.

    Examples:
      reconciler enqueue orders.csv
      reconciler enqueue --format jsonl --rejected refused.jsonl - < orders.txt
    """
    kind = format_ or _format_of(file)
    path = rejected or Path("enqueue.rejected.jsonl" if file == STDIN else f"{file}.rejected.jsonl")
    started, tally, refused = time.monotonic(), Tally(), RefusedLines(path)
    try:
        _enqueue_file(file, kind, _columns(column or (), pass_over), refused, tally)
    except OSError as error:
        raise CommandError("%(path)s cannot be read (%(why)s)", file, os_words(error)) from None
    except CommandError as error:
        if not tally.lines:
            raise
        count = f"{tally.lines:,}"
        before = _("%(count)s lines were processed before; run it again: known orders count as duplicates", count)
        raise CommandError("%(what)s (%(why)s)", error.sentence, before, status=error.status) from None
    _print_tally(tally, refused, time.monotonic() - started, as_json)
    raise typer.Exit(1 if tally.rejected else 0)


def _format_of(file: Path) -> Format:
    kind = _BY_EXTENSION.get(file.suffix.lower())
    if kind is None:
        raise WrongUse("FILE's name does not say what it holds: give --format csv or --format jsonl")
    return kind


def _columns(given: Sequence[str], pass_over: bool) -> Columns:
    names = {column: name.strip() for column, _, name in (value.partition("=") for value in given)}
    return Columns(names=names, passes_over=pass_over)


def _enqueue_file(file: Path, kind: Format, columns: Columns, refused: RefusedLines, tally: Tally) -> None:
    with ExitStack() as stack:
        opened = stack.enter_context(session(needs_accounts=True))
        intake = Intake(opened.database, rules_of(opened.settings), app_ids_of(opened.settings))
        stream: BinaryIO = sys.stdin.buffer if file == STDIN else stack.enter_context(file.open("rb"))
        # The size of a pipe is unknown.
        size = file.stat().st_size if file.is_file() else None
        show = stack.enter_context(progress("0 accepted", of_bytes=True, size=size))
        stack.enter_context(refused)
        remaining = read_lines(stream, kind, columns)
        while lines := list(islice(remaining, LIST_LENGTH)):
            _enqueue_list(intake, lines, opened.settings.zone, refused, tally)
            show(in_words(tally.sentence), lines[-1].end)


def _enqueue_list(intake: Intake, lines: list[Line], zone: tzinfo, refused: RefusedLines, tally: Tally) -> None:
    errors = {line.number: [line.error] for line in lines if line.error is not None}
    readable = [line for line in lines if line.error is None]
    if readable:
        orders = [_with_offset(line.order, zone) for line in readable]
        answer: Any = intake.enqueue_orders(orders, source="reconciler enqueue")
        tally.accepted += answer["accepted"]
        tally.duplicates += answer["duplicates"]
        errors.update((readable[one["index"]].number, one["errors"]) for one in answer["rejected"])
    for line in lines:
        if line.number in errors:
            refused.add(line, errors[line.number])
    tally.rejected += len(errors)
    tally.lines += len(lines)


def _with_offset(order: object, zone: tzinfo) -> object:
    """The order with its submission time in ISO 8601 with an offset. A time without an offset gets the offset of
    `zone`."""
    found = _DAY_AND_TIME.fullmatch(str(order.get("submitted_at"))) if isinstance(order, dict) else None
    if not isinstance(order, dict) or found is None:
        return order
    year, month, day, hour, rest = found.groups()
    try:
        named = datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2} {hour:0>2}{rest}")
    except ValueError:
        return order
    return {**order, "submitted_at": (named if named.tzinfo else named.replace(tzinfo=zone)).isoformat()}


def _print_tally(tally: Tally, refused: RefusedLines, seconds: float, as_json: bool) -> None:
    if as_json:
        path = str(refused.path) if refused.count else None
        print_json({**asdict(tally), "rejected_file": path, "seconds": round(seconds, 3)})
        return
    say("%(count)s lines read in %(seconds)s s: %(tally)s.", f"{tally.lines:,}", f"{seconds:,.1f}", tally.sentence)
    if refused.count:
        say("Refused lines, with reasons: %(path)s", refused.path)
