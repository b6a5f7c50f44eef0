"""Lists as files: CSV for programs, as the command line has it; XLSX for people, in the language of the request.

A list is read a page at a time, each page in a transaction of its own. An XLSX of it is written to a temporary file
without a name, then sent: memory does not grow with the number of rows, and a download that breaks leaves nothing.
Only two files are downloaded at a time.
"""

import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import partial
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import IO, Any
from zoneinfo import ZoneInfo

from flask import Response, g, render_template, request

from worker.adapters.shown_values import csv_parts
from worker.domain.finance.report import Sums
from worker.domain.records.coded_texts import CodedText
from worker.domain.records.notifications import DeliveryOutcome
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import OrderState
from worker.domain.records.sentences import Sentence
from worker.views.orders import SummedOrders
from worker.views.page import ROWS_AT_ONCE, Bound, OrNothing, Page, every_row
from worker.web.console.translations import detail_word, in_words, outcome_word, text, word, word_of
from worker.web.xlsx import XlsxFile, write_xlsx
from worker.words import N_
from worker.words.catalogue import COLUMNS

Row = dict[str, Any]
Rows = Iterable[Mapping[str, Any]]
Chosen = Mapping[str, str]
"""What a list was narrowed by, by the name of the filter, in the language of the request."""
Load = Callable[[int | None, int, Bound], Page[Row]]
"""Reads this many rows after an id, within a bound."""

# In all processes of one `serve`: each takes a processor while it is made, and space for temporary files.
_MOST_DOWNLOADS = 2
_MOST_ROWS = 100_000
# Until it is compressed an XLSX lies in the folder for temporary files, which may be in memory.
_MOST_CHARACTERS = 64_000_000
# `serve` takes a database that is silent for 20 s for one that is away.
_PAGE_SECONDS = OrNothing(15.0)
# The documented proxies wait for 120 s.
_MOST_SECONDS = 90.0
_CHUNK = 64 * 1024
# For one chunk, so that a client that takes no more frees its place.
_SEND_SECONDS = 60.0
_RETRY_SECONDS = 30
_BUSY = (
    N_("Two files are being downloaded already"),
    N_("Only two are downloaded at a time. Try again in half a minute."),
)
_XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MIME_TYPES = {"csv": "text/csv", "xlsx": _XLSX_TYPE}
# Of values that have no type of their own.
_WORDS: Mapping[str, Callable[[str], str]] = {
    "queries_outcome": outcome_word,
    "notifications_outcome": partial(word_of, DeliveryOutcome),
    "acts_act": partial(word_of, ActKind),
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
    rows_at_once: int = ROWS_AT_ONCE
    """How many rows are read at once."""


def wanted_format() -> str | None:
    """`csv` or `xlsx`, where the request is for a file."""
    wanted = request.args.get("format")
    return wanted if wanted in _MIME_TYPES else None


class Downloads:
    """The places for downloads. Processes that are forked after this was made share them.

    A place is the lock of a file without a name: the kernel frees it when its holder closes it, or is killed.
    """

    def __init__(self) -> None:
        self._places = [TemporaryFile() for _ in range(_MOST_DOWNLOADS)]  # noqa: SIM115  # `close` does

    def take(self) -> IO[bytes] | None:
        """A place, which is free again once it is closed; None if all are taken."""
        for place in self._places:
            # Opened anew: locks of one open file do not exclude each other, and forks share it.
            own = open(f"/proc/self/fd/{place.fileno()}", "rb")  # noqa: SIM115  # the caller closes it
            try:
                flock(own, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                own.close()
            else:
                return own
        return None

    def close(self) -> None:
        """Take part no more: this process begins no further download."""
        for place in self._places:
            place.close()


class _TooLong(Exception):
    """The list is longer than an XLSX may be, or takes too long to read for one."""


class _PageTooLong(_TooLong):
    """A page takes too long, as it would for a CSV."""


def list_file(file: ListFile, load: Load, after: int | None, filters: Chosen, zone: ZoneInfo) -> Response | str:
    """The file of the list that the request is for: a CSV of all its rows, or an XLSX; a page if that is too long, and
    one with status 503 while two other files are downloaded. A CSV of which rows are sent breaks off instead."""
    place = g.downloads.take()
    if place is None:
        title, advice = _BUSY
        page = render_template("console/error.html", title=title, advice=advice)
        return Response(page, 503, headers={"Retry-After": f"{_RETRY_SECONDS}"})

    def read(*, after: int | None, most: int, seconds: None) -> Page[Row]:
        page = load(after, most, _PAGE_SECONDS)
        if page.is_partial:
            raise _PageTooLong(f"{most} rows take more than {_PAGE_SECONDS:g} s")
        return page

    rows = every_row(read, after, at_once=file.rows_at_once)
    size: int | None = None
    with ExitStack() as held:
        held.enter_context(place)
        try:
            if wanted_format() == "csv":
                parts = csv_parts(file.columns, rows, zone)
            else:
                written = held.enter_context(TemporaryFile())
                _write(written, file, _bounded(rows), filters, zone)
                size = written.tell()
                written.seek(0)
                parts = iter(partial(written.read, _CHUNK), b"")
            # Errors of the first rows have a page.
            body = itertools.chain([next(parts)], parts)
        except _TooLong as error:
            most = None if isinstance(error, _PageTooLong) else _MOST_ROWS
            return render_template("console/too_long.html", title=column_name(file.name, "list"), most=most)
        sent = held.pop_all()
    answer = _answer(file.name, _until_sent(body, sent))
    # Also where the client goes away, or asked for no body.
    answer.call_on_close(sent.close)
    if size is not None:
        answer.content_length = size
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(_SEND_SECONDS)
    return answer


def _write(
    written: IO[bytes], file: ListFile, rows: Rows, filters: Chosen, zone: ZoneInfo, totals: Sequence[Row] = ()
) -> None:
    if wanted_format() == "csv":
        written.writelines(csv_parts(file.columns, rows, zone))
        return
    described, worded = _xlsx_file(file, rows, filters, zone)
    write_xlsx(written, replace(described, totals=lambda: totals) if totals else described, worded)


def _bounded(rows: Rows) -> Rows:
    until, characters = time.monotonic() + _MOST_SECONDS, 0
    for count, row in enumerate(rows, start=1):
        characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if count > _MOST_ROWS or characters > _MOST_CHARACTERS or time.monotonic() > until:
            raise _TooLong
        yield row


def _until_sent(body: Iterable[bytes], held: ExitStack) -> Iterator[bytes]:
    with held:
        yield from body


def whole_file(
    file: ListFile, rows: Rows, zone: ZoneInfo, filters: Chosen = MappingProxyType({}), totals: Sequence[Row] = ()
) -> Response:
    """The file that is asked for, with all of these rows; of XLSX with these totals."""
    written = io.BytesIO()
    _write(written, file, rows, filters, zone, totals)
    return _answer(file.name, written.getvalue())


def _answer(name: str, body: bytes | Iterator[bytes]) -> Response:
    ending = wanted_format() or "csv"
    disposition = f'attachment; filename="{name}.{ending}"'
    return Response(body, mimetype=_MIME_TYPES[ending], headers={"Content-Disposition": disposition})


def _xlsx_file(file: ListFile, rows: Rows, filters: Chosen, zone: ZoneInfo) -> tuple[XlsxFile, Iterator[Row]]:
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
    return text("%(what)s (%(count)s)", text("Total") if state is None else word(state), sums.count)


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
    if isinstance(value, Sentence):
        return in_words(value)
    return detail_word(value) if isinstance(value, CodedText) else value
