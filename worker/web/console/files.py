"""Download lists as files: CSV for programs, the same as from the command line; XLSX for people, in the language of the
request.

A list is read page by page, each page in a transaction of its own. An XLSX is first written to a temporary file, then
sent. So memory does not grow with the number of rows. The temporary file has no name, so a broken download leaves no
file. Only two downloads run at a time.
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
"""The chosen filters of a list. Maps the name of each filter to the chosen value, in the language of the request."""
Load = Callable[[int | None, int, Bound], Page[Row]]
"""Reads a page of a list. The arguments are the id after which the page begins, the number of rows, and the bound on
the time."""

# All processes of one `serve` share this limit: making a file occupies a processor, and needs space for temporary
# files.
_MOST_DOWNLOADS = 2
_MOST_ROWS = 100_000
# The text of an XLSX is limited because, until it is compressed, it is in the folder for temporary files, which may be
# in memory.
_MOST_CHARACTERS = 64_000_000
# This limit is less than the 20 s after which `serve` treats a silent database as unavailable.
_PAGE_SECONDS = OrNothing(15.0)
# This limit is less than the 120 s for which the documented proxies wait for an answer.
_MOST_SECONDS = 90.0
_CHUNK = 64 * 1024
# How long sending one chunk may take. So a client that stops reading loses its place, and another download can begin.
_SEND_SECONDS = 60.0
_RETRY_SECONDS = 30
_BUSY = (
    N_("Two files are being downloaded already"),
    N_("Only two are downloaded at a time. Try again in half a minute."),
)
_XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MIME_TYPES = {"csv": "text/csv", "xlsx": _XLSX_TYPE}
# For columns whose values are plain text instead of an enum: the functions that return the words for a value.
_WORDS: Mapping[str, Callable[[str], str]] = {
    "queries_outcome": outcome_word,
    "notifications_outcome": partial(word_of, DeliveryOutcome),
    "acts_act": partial(word_of, ActKind),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ListFile:
    """How a list is written as a file."""

    name: str
    """The name of the file without its ending. It is also the name of the list in the catalogue."""
    columns: Sequence[str]
    """The columns of a CSV. A CSV has the values as they are stored."""
    for_people: Sequence[str] = ()
    """The columns of an XLSX, if they differ from those of a CSV. Columns that have no name in the catalogue are left
    out of an XLSX."""
    rows_at_once: int = ROWS_AT_ONCE
    """How many rows of the list are read from the database at once."""


def wanted_format() -> str | None:
    """`csv` or `xlsx` if the request is for a file; otherwise None."""
    wanted = request.args.get("format")
    return wanted if wanted in _MIME_TYPES else None


class Downloads:
    """The places for downloads: each download takes one. Processes that are forked after this object is made share the
    places.

    To take a place is to lock a file without a name. The kernel releases the lock when its holder closes the file or is
    killed.
    """

    def __init__(self) -> None:
        self._places = [TemporaryFile() for _ in range(_MOST_DOWNLOADS)]  # noqa: SIM115  # `close` does

    def take(self) -> IO[bytes] | None:
        """Take a place. Closing the returned file frees the place. None if all places are taken."""
        for place in self._places:
            # The file is opened again, because forked processes share an open file, and two locks through the same open
            # file do not exclude each other.
            own = open(f"/proc/self/fd/{place.fileno()}", "rb")  # noqa: SIM115  # the caller closes it
            try:
                flock(own, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                own.close()
            else:
                return own
        return None

    def close(self) -> None:
        """Close the places: this process starts no more downloads."""
        for place in self._places:
            place.close()


class _TooLong(Exception):
    """The list is longer than an XLSX may be, or takes too long to read for an XLSX."""


class _PageTooLong(_TooLong):
    """A page of the list takes too long to read. This ends not only an XLSX but also a CSV."""


def list_file(file: ListFile, load: Load, after: int | None, filters: Chosen, zone: ZoneInfo) -> Response | str:
    """The file that the request is for: a CSV of all rows of the list, or an XLSX.

    If the list is too long, the answer is a page that says so. While two other downloads run, it is a page with status
    503. If an error occurs when a CSV is already being sent, the CSV breaks off instead."""
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
            # The first part is read before the response starts: if reading it fails, a page can still be shown instead.
            body = itertools.chain([next(parts)], parts)
        except _TooLong as error:
            most = None if isinstance(error, _PageTooLong) else _MOST_ROWS
            return render_template("console/too_long.html", title=column_name(file.name, "list"), most=most)
        sent = held.pop_all()
    answer = _answer(file.name, _until_sent(body, sent))
    # `call_on_close` frees the place of this download even if the client disconnects, or requests no body.
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
    """The requested file, made in memory, with all of these rows. The totals are only in an XLSX."""
    written = io.BytesIO()
    _write(written, file, rows, filters, zone, totals)
    return _answer(file.name, written.getvalue())


def _answer(name: str, body: bytes | Iterator[bytes]) -> Response:
    ending = wanted_format() or "csv"
    disposition = f'attachment; filename="{name}.{ending}"'
    return Response(body, mimetype=_MIME_TYPES[ending], headers={"Content-Disposition": disposition})


def _xlsx_file(file: ListFile, rows: Rows, filters: Chosen, zone: ZoneInfo) -> tuple[XlsxFile, Iterator[Row]]:
    """The two arguments of `write_xlsx`: the description of an XLSX, and its rows. The values of each row are put into
    the language of the request when the row is written."""
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
    """The name of the row with the sums of the orders in a state; of all orders if `state` is None."""
    return text("%(what)s (%(count)s)", text("Total") if state is None else word(state), sums.count)


def column_name(file: str, column: str) -> str:
    """The name of a column or filter of a list; empty if the catalogue has none."""
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
