"""Lists as files: CSV for programs, as the command line has it; XLSX for people, in the language of the request.

What is answered at once is bounded: at most 10,000 rows, found within ten seconds or so.
"""

import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, g, render_template, request

from worker.adapters.csv_cells import csv_parts
from worker.domain.finance.amounts import Sums
from worker.domain.records.acts import ActKind
from worker.domain.records.coded_texts import CodedText
from worker.domain.records.notifications import DeliveryOutcome
from worker.domain.records.orders import Attention, OrderState
from worker.domain.watching.todo import TodoKind
from worker.views.orders import SummedOrders
from worker.views.page import Page
from worker.web.console.translations import detail_word, outcome_word, text, word, word_of
from worker.web.xlsx import XlsxFile, write_xlsx
from worker.words.catalogue import COLUMNS

Row = dict[str, Any]
Rows = Iterable[Mapping[str, Any]]
Chosen = Mapping[str, str]
"""What a list was narrowed by, by the name of the filter, in the language of the request."""
Load = Callable[[int | None, int, float], Page[Row]]
"""Reads so many rows behind an id, searching each table for so many seconds."""

ROWS = 10_000
"""How many rows a file has that is answered at once."""
_SECONDS = 10.0
_PART_SECONDS = 0.5
# Of XLSX less: until it is compressed, it lies in the folder for temporary files, which may be in memory.
_CHARACTERS = {"csv": 32_000_000, "xlsx": 8_000_000}
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MIME_TYPES = {"csv": "text/csv", "xlsx": XLSX_TYPE}
# Of values that have no type of their own.
_WORDS: Mapping[str, Callable[[str], str]] = {
    "queries_outcome": outcome_word,
    "notifications_outcome": partial(word_of, DeliveryOutcome),
    "acts_act": partial(word_of, ActKind),
    "attention_note": partial(word_of, OrderState),
    "attention_reason": lambda value: word_of(Attention if value in list(Attention) else TodoKind, value),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ListFile:
    """How a list is a file."""

    name: str
    """Of the file, without its ending; in the catalogue that of the list."""
    columns: Sequence[str]
    """Of CSV, which has the values as they are."""
    for_people: Sequence[str] = ()
    """Of XLSX, where they are others. Both leave out what has no name in the catalogue."""
    rows_at_once: int = ROWS
    """How many rows are read at once."""


def wanted_format() -> str | None:
    """`csv` or `xlsx`, where the request is for a file."""
    wanted = request.args.get("format")
    return wanted if wanted in _CHARACTERS else None


def first_rows(file: ListFile, load: Load, after: int | None, filters: Chosen, zone: ZoneInfo) -> Response | str:
    """The file of a list that is asked for, as far as it is answered at once: its name says where more follow.

    Of XLSX a page says so before, and offers the whole, made in the background; a POST begins that.
    """
    if request.method == "POST":
        rows = g.exporter.every_row(load, after, file.rows_at_once)
        begun: Response = g.exporter.begin(file, rows, filters, zone)
        return begun
    found = _FirstRows(load, after, file.rows_at_once, _CHARACTERS[wanted_format() or "csv"])
    rows = found if wanted_format() == "csv" else list(found)
    if isinstance(rows, list) and found.next_after is not None and "first" not in request.args:
        return render_template("console/more_rows.html", count=len(rows), title=column_name(file.name, "list"))
    part = {} if found.next_after is None else {"part": text("The first rows; more follow.")}
    body = _body(file, rows, {**part, **filters}, zone)
    return _answer(file.name if found.next_after is None else f"{file.name}-first-rows", body)


def whole_file(
    file: ListFile, rows: Rows, zone: ZoneInfo, filters: Chosen = MappingProxyType({}), totals: Sequence[Row] = ()
) -> Response:
    """The file that is asked for, with all of these rows; of XLSX with these totals."""
    return _answer(file.name, _body(file, rows, filters, zone, totals))


def _body(file: ListFile, rows: Rows, filters: Chosen, zone: ZoneInfo, totals: Sequence[Row] = ()) -> bytes:
    if wanted_format() == "csv":
        return b"".join(csv_parts(file.columns, rows, zone))
    written = io.BytesIO()
    described, worded = xlsx_file(file, rows, filters, zone)
    write_xlsx(written, replace(described, totals=lambda: totals) if totals else described, worded)
    return written.getvalue()


def _answer(name: str, body: bytes) -> Response:
    ending = wanted_format() or "csv"
    disposition = f'attachment; filename="{name}.{ending}"'
    return Response(body, mimetype=_MIME_TYPES[ending], headers={"Content-Disposition": disposition})


def xlsx_file(file: ListFile, rows: Rows, filters: Chosen, zone: ZoneInfo) -> tuple[XlsxFile, Iterator[Row]]:
    """An XLSX and its rows, as `write_xlsx` takes them: in the language of the request while it is written."""
    named = {name: column_name(file.name, name) for name in file.for_people or file.columns}
    headers = {name: header for name, header in named.items() if header}
    summed = SummedOrders(rows) if "due" in headers else None
    count = itertools.count()

    def worded() -> Iterator[Row]:
        for row in rows if summed is None else summed:
            next(count)
            yield {name: _in_words(f"{file.name}_{name}", row[name]) for name in headers}

    def totals() -> list[Row]:
        sums = [] if summed is None else summed.sums()
        first = next(iter(headers))
        return [{first: sum_name(state, one), **asdict(one)} for state, one in sums]

    def about() -> list[tuple[str, object]]:
        chosen = [(column_name(file.name, name), value) for name, value in filters.items()]
        made = [(text("Exported at"), datetime.now(UTC)), (text("Time zone"), zone.key), (text("Rows"), next(count))]
        return [*made, *chosen]

    title, about_name = column_name(file.name, "list"), text("About this file")
    described = XlsxFile(name=title, headers=headers, zone=zone, totals=totals, about_name=about_name, about=about)
    return described, worded()


def sum_name(state: OrderState | None, sums: Sums) -> str:
    """Of which orders these are the sums; None: of all."""
    return text("%(what)s (%(count)s)", what=text("Total") if state is None else word(state), count=sums.count)


def column_name(file: str, column: str) -> str:
    """What a column or filter of a list is called; empty where the catalogue has no name for it."""
    name = COLUMNS.get(f"{file.partition('-')[0]}_{column}") or COLUMNS.get(column)
    return text(name) if name else ""


def _in_words(column: str, value: Any) -> object:
    if value is not None and column in _WORDS:
        return _WORDS[column](value)
    if isinstance(value, Enum):
        return word(value)
    if isinstance(value, bool):
        return text("yes") if value else text("no")
    if isinstance(value, int) and column.endswith("id"):
        return str(value)
    return detail_word(value) if isinstance(value, CodedText) else value


class _FirstRows:
    """The rows of a list as far as a file holds them."""

    def __init__(self, load: Load, after: int | None, rows_at_once: int, most_characters: int) -> None:
        self._load = load
        self._rows_at_once = rows_at_once
        self._most_characters = most_characters
        self.next_after = after
        """Once the rows are read: where the list goes on; None at its end."""

    def __iter__(self) -> Iterator[Row]:
        until = time.monotonic() + _SECONDS
        count, characters = 0, 0
        while count < ROWS and time.monotonic() < until:
            part = self._load(self.next_after, min(self._rows_at_once, ROWS - count), _PART_SECONDS)
            for row in part.rows:
                yield row
                characters += sum(len(value) for value in row.values() if isinstance(value, str))
                if characters > self._most_characters:
                    self.next_after = row["id"]
                    return
            count += len(part.rows)
            self.next_after = part.next_after
            if self.next_after is None:
                return
