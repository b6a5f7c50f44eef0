"""Orders in a file: CSV with a header, or JSON Lines; and the file that refused lines are written to, with reasons.

Both are read and written line by line, in bounded memory.

A line is an order in both formats: a CSV field with a line end is refused, since no order has one. So a stray quote
spoils one line, not the rest of the file.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Self, TextIO

from worker.adapters.private_files import make_private
from worker.cli.errors import CommandError
from worker.domain.submissions import ORDER_FIELDS
from worker.domain.wire.strict_json import JsonFault, JsonNumber, parse

LONGEST_LINE_BYTES = 65_536
_SHOWN_OF_LONGER = 1000
_BOM = b"\xef\xbb\xbf"
_SMALL_WHOLE = re.compile(r"-?[0-9]{1,15}")


class Format(StrEnum):
    """The formats of a file of orders."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line that is not blank."""

    number: int
    """From 1, as an editor counts."""
    text: str
    """As it stands in the file; bytes that are not UTF-8 are written as escapes."""
    end: int
    """How many bytes of the file were read up to its end."""
    order: object = None
    """Its content; whether that is an order is checked later."""
    error: str | None = None
    """Why it cannot be read."""


class _Unreadable(Exception):
    """A line cannot be read; `str()` says why."""


def read_lines(stream: BinaryIO, kind: Format) -> Iterator[Line]:
    """Every line of the file. Raises CommandError where the file cannot be read, or has a header of another kind."""
    read: Callable[[str], object] | None = _read_json if kind is Format.JSONL else None
    for number, raw, end in _raw_lines(stream):
        text = raw.decode("utf-8", "backslashreplace")
        if not text.strip():
            continue
        try:
            decoded = _decoded(raw)
            if read is None:
                read = _row_reader(_read_header(number, decoded))
                continue
            yield Line(number=number, text=text, end=end, order=read(decoded))
        except _Unreadable as fault:
            if read is None:
                raise CommandError(f"the header, line {number}, cannot be read: {fault}") from None
            shown = text if len(raw) <= LONGEST_LINE_BYTES else text[:_SHOWN_OF_LONGER] + "..."
            yield Line(number=number, text=shown, end=end, error=f"line: {fault}")


class RefusedLines:
    """JSON Lines: `line` (its number), `text`, `errors`. The file is made, or replaced, with the first refused line.

    A file that is made is its owner's alone: the lines hold customers' numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: TextIO | None = None

    def add(self, line: Line, errors: Sequence[str]) -> None:
        """Write a line. Raises CommandError where that cannot be done."""
        record = {"line": line.number, "text": line.text, "errors": list(errors)}
        try:
            if self._file is None:
                make_private(self.path)
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
            # A full disk may show only now.
            raise self._cannot(fault) from None

    def _cannot(self, error: OSError) -> CommandError:
        return CommandError(f"{self.path} cannot be written ({error.strerror}): choose another path with --rejected")


def _raw_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """(number, bytes without the line's end, bytes read); of a line that is too long, its beginning."""
    number = end = 0
    # One byte more than accepted, and the line's end, by which a line that is too long is found.
    while raw := stream.readline(LONGEST_LINE_BYTES + 3):
        number += 1
        end += len(raw)
        piece = raw
        while not piece.endswith(b"\n") and (piece := stream.readline(LONGEST_LINE_BYTES)):
            end += len(piece)
        raw = raw.removeprefix(_BOM) if number == 1 else raw
        yield number, raw.removesuffix(b"\n").removesuffix(b"\r"), end


def _decoded(raw: bytes) -> str:
    if len(raw) > LONGEST_LINE_BYTES:
        raise _Unreadable(f"is longer than {LONGEST_LINE_BYTES:,} bytes; accepted: one order a line")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Unreadable(f"byte {error.start + 1} is not UTF-8; accepted: UTF-8 text") from None


def _read_json(text: str) -> object:
    try:
        value = parse(text)
    except JsonFault as fault:
        raise _Unreadable(f"{fault}; accepted: one JSON object a line") from None
    # Numbers were kept as text. Ids and amounts are strings by contract: a number must be refused as one.
    return {name: _plain(held) for name, held in value.items()} if isinstance(value, dict) else _plain(value)


def _plain(value: object) -> object:
    if not isinstance(value, JsonNumber):
        return value
    return int(value) if _SMALL_WHOLE.fullmatch(value) else float(value)


def _read_cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise _Unreadable(f"not CSV: {error}; accepted: one order a line, fields separated by commas") from None


def _read_header(number: int, text: str) -> list[str]:
    names = [name.strip() for name in _read_cells(text)]
    accepted = f"accepted, separated by commas: {', '.join(ORDER_FIELDS)}"
    for name in names:
        if name not in ORDER_FIELDS:
            raise CommandError(f"the header, line {number}, names a column {name!r}; {accepted}")
        if names.count(name) > 1:
            raise CommandError(f"the header, line {number}, names the column {name} twice; {accepted}")
    if not {"request_id", "custom_parm"} & set(names):
        raise CommandError(f"the header, line {number}, names neither request_id nor custom_parm; {accepted}")
    return names


def _row_reader(names: Sequence[str]) -> Callable[[str], object]:
    def read(text: str) -> object:
        cells = _read_cells(text)
        if len(cells) != len(names):
            raise _Unreadable(f"has {len(cells)} columns, while the header has {len(names)}")
        return {name: held for name, held in zip(names, cells, strict=True) if held}

    return read
