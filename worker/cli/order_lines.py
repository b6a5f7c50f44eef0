"""Read orders from a file: CSV with a header, or JSON Lines. Write refused lines with their reasons to another file.

Lines are read and written one by one, in bounded memory. The first MiB of a CSV decides its encoding and header.

In both formats each line is one order. A CSV field must not contain a line end; no order needs one. So a stray quote
spoils only its own line, not the rest of the file.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, TextIO

from worker.adapters.csv_files import USUAL_NAMES, UTF_8, Header, encoding_of, find_header, first_names, plain_cell
from worker.adapters.safe_text import one_line
from worker.adapters.text_files import os_words
from worker.cli.app import CommandError
from worker.domain.orders.check_fields import ORDER_FIELDS
from worker.domain.records.sentences import Refusal, Sentence, _
from worker.domain.wire.strict_json import JsonFault, JsonNumber, parse

LONGEST_LINE_BYTES = 65_536
_SHOWN_OF_LONGER = 1000
_HEAD_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_COLUMNS = _("%(names)s, or what --column FIELD=NAME says", ", ".join(ORDER_FIELDS))
_SMALL_WHOLE = re.compile(r"-?[0-9]{1,15}")


class Format(StrEnum):
    """The formats of a file of orders."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line that is not blank."""

    number: int
    """The number of the line, counted from 1 as in an editor."""
    text: str
    """The text of the line; if the line is too long, only its start. Bytes that are invalid in the file's encoding are
    written as escapes."""
    end: int
    """How many bytes of the file were read up to the end of the line."""
    order: object = None
    """The content of the line. Whether it is an order is checked later."""
    error: Sentence | None = None
    """Why the line cannot be read; None if it can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The options about the columns of a CSV."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Maps a field to the name of its column, if that is not one of the field's `USUAL_NAMES`."""
    passes_over: bool = False
    """Whether columns that belong to no field are ignored. If False, they are refused."""


class _Unreadable(Refusal):
    """A line cannot be read."""


def read_lines(stream: BinaryIO, kind: Format, columns: Columns | None = None) -> Iterator[Line]:
    """The lines that are not blank; in a CSV, only those after the header. Raises CommandError if the header cannot be
    used."""
    if kind is Format.JSONL:
        for line in _raw_lines(stream):
            if line.raw.strip():
                yield _read(line, UTF_8, _read_json)
        return
    lines = _raw_lines(stream)
    head = _head_of(lines)
    encoding = encoding_of(line.raw for line in head)
    header = _header_of(head, encoding, columns or Columns())
    if header is None:
        return
    read = _RowReader(header)
    for line in chain(head, lines):
        if line.number > header.line and line.raw.replace(header.delimiter.encode(), b"").strip():
            yield _read(line, encoding, read)


class RefusedLines:
    """The file of refused lines, as JSON Lines: `line` (its number), `text`, `errors`.

    The first refused line creates or replaces the file. A newly created file can be read only by its owner, because the
    lines have customers' numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: TextIO | None = None

    def add(self, line: Line, errors: Sequence[str]) -> None:
        """Write a line. Raises CommandError if the file cannot be written."""
        record = {"line": line.number, "text": line.text, "errors": list(errors)}
        try:
            if self._file is None:
                self.path.touch(0o600)
                self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            raise self._cannot(error) from None
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError as fault:
            # If the disk is full, the error may come only when the file is closed.
            raise self._cannot(fault) from None

    def _cannot(self, error: OSError) -> CommandError:
        return CommandError(
            "%(path)s cannot be written (%(why)s): choose another path with --rejected", self.path, os_words(error)
        )


class _RawLine(NamedTuple):
    number: int
    raw: bytes
    """The bytes of the line without its line end. If the line is too long, only its first bytes."""
    end: int
    """How many bytes of the file were read up to the end of the line."""


def _raw_lines(stream: BinaryIO) -> Iterator[_RawLine]:
    number = end = 0
    # Read one byte more than a line may have, and two for its line end. If this extra byte is there, the line is too
    # long.
    while raw := stream.readline(LONGEST_LINE_BYTES + 3):
        number += 1
        end += len(raw)
        piece = raw
        while not piece.endswith(b"\n") and (piece := stream.readline(LONGEST_LINE_BYTES)):
            end += len(piece)
        raw = raw.removeprefix(_BOM) if number == 1 else raw
        yield _RawLine(number, raw.removesuffix(b"\n").removesuffix(b"\r"), end)


def _head_of(lines: Iterator[_RawLine]) -> list[_RawLine]:
    """The first lines, up to and including the one that passes the first MiB."""
    head: list[_RawLine] = []
    for line in lines:
        head.append(line)
        if line.end > _HEAD_BYTES:
            break
    return head


def _read(line: _RawLine, encoding: str, read: Callable[[str], object]) -> Line:
    whole = line.raw.decode(encoding, "backslashreplace")
    try:
        return Line(number=line.number, text=whole, end=line.end, order=read(_decoded(line.raw, encoding)))
    except _Unreadable as fault:
        shown = whole if len(line.raw) <= LONGEST_LINE_BYTES else whole[:_SHOWN_OF_LONGER] + "..."
        return Line(number=line.number, text=shown, end=line.end, error=_("line: %(why)s", fault.sentence))


def _decoded(raw: bytes, encoding: str) -> str:
    if len(raw) > LONGEST_LINE_BYTES:
        raise _Unreadable("is longer than %(count)s bytes; accepted: one order a line", f"{LONGEST_LINE_BYTES:,}")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.upper()
        raise _Unreadable("byte %(byte)s is not %(name)s; accepted: %(name)s text", error.start + 1, name) from None


def _read_json(text: str) -> object:
    try:
        value = parse(text)
    except JsonFault as fault:
        raise _Unreadable("%(why)s; accepted: one JSON object a line", fault.sentence) from None
    # `parse` keeps numbers as text. Turn them into numbers again, so that the intake refuses them: ids and amounts must
    # be strings.
    return {name: _plain(held) for name, held in value.items()} if isinstance(value, dict) else _plain(value)


def _plain(value: object) -> object:
    if not isinstance(value, JsonNumber):
        return value
    return int(value) if _SMALL_WHOLE.fullmatch(value) else float(value)


def _read_cells(text: str, delimiter: str = ",") -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise _Unreadable("not CSV: %(why)s; accepted: one order a line, fields separated by commas", error) from None


def _header_of(head: Sequence[_RawLine], encoding: str, columns: Columns) -> Header | None:
    """The header of a CSV; None if `head` has only blank lines."""
    # `find_header` must count lines as we do, but it would read a carriage return within a line as a line end. So
    # replace it.
    text = "\n".join(line.raw.decode(encoding, "backslashreplace").replace("\r", " ") for line in head)
    if not text.strip():
        return None
    names = {name: [columns.names[name]] if name in columns.names else USUAL_NAMES[name] for name in ORDER_FIELDS}
    header = find_header(text, names, lambda places: bool(places["request_id"] or places["custom_parm"]))
    first = next(line for line in head if line.raw.strip())
    line = first if header is None else head[header.line - 1]
    try:
        _read_cells(_decoded(line.raw, encoding))
    except _Unreadable as fault:
        raise CommandError("the header, line %(line)s, cannot be read: %(why)s", line.number, fault.sentence) from None
    if header is None:
        none = _("no header names request_id or custom_parm; the first row has %(names)s", one_line(first_names(text)))
        raise CommandError("%(what)s; accepted: %(rule)s", none, _COLUMNS)
    _check_header(header, columns)
    return header


def _check_header(header: Header, columns: Columns) -> None:
    known = {place for places in header.places.values() for place in places}
    for place, name in enumerate(header.names):
        if place not in known and name and not columns.passes_over:
            unknown = _("the header, line %(line)s, names a column %(name)r", header.line, name)
            raise CommandError("%(what)s; accepted: %(rule)s. --pass-over leaves others out", unknown, _COLUMNS)
    for column, places in header.places.items():
        if len(places) > 1:
            twice = _("the header, line %(line)s, names the column %(name)s twice", header.line, column)
            raise CommandError("%(what)s; accepted: %(rule)s", twice, _COLUMNS)
    if missing := [column for column in columns.names if not header.places[column]]:
        lacked = repr(columns.names[missing[0]])
        raise CommandError("the header, line %(line)s, lacks %(name)s", header.line, lacked)


class _RowReader:
    """Reads a row of a CSV as an order."""

    def __init__(self, header: Header) -> None:
        self._header = header

    def __call__(self, text: str) -> object:
        header = self._header
        cells = _read_cells(text, header.delimiter)
        if len(cells) != len(header.names):
            raise _Unreadable("has %(count)s columns, while the header has %(header)s", len(cells), len(header.names))
        held = {column: plain_cell(cells[places[0]]) for column, places in header.places.items() if places}
        return {column: cell for column, cell in held.items() if cell}
