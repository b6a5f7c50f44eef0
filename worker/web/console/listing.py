"""Lists: a page of rows with a link to the next one, or all of them as CSV."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, render_template, request

from worker.adapters.shown_values import csv_parts
from worker.views.page import Page
from worker.web.console.filters import Filters
from worker.web.console.languages import N_, text

ROWS = 50
"""How many rows a page has."""
SEARCH_SECONDS = 0.03
"""How long one table is searched for a page, which is to be there within a tenth of a second."""
_CSV_ROWS = 10_000
_CSV_SECONDS = 10.0
_CSV_PART_SECONDS = 0.5
_CSV_CHARACTERS = 32_000_000


Load = Callable[[int | None, int, float], Page[dict[str, Any]]]
"""Reads so many rows behind an id, searching each table for so many seconds."""


def wants_csv() -> bool:
    """Whether the request is for the file."""
    return request.args.get("format") == "csv"


def show_list(
    name: str,
    columns: Sequence[str],
    load: Load,
    after: int | None,
    filters: Filters,
    *,
    rows_at_once: int = _CSV_ROWS,
    **shown: object,
) -> str | Response:
    """A page of a list by the template of this name, with what else it shows; or its file, where that is asked for.

    `rows_at_once` bounds how many rows are read at once for the file.
    """
    if wants_csv():
        return csv_answer(name, columns, load, after, filters.zone, rows_at_once)
    part = load(after, ROWS, SEARCH_SECONDS)
    return render_template(f"console/{name}.html", part=part, faults=filters.faults, **shown)


def csv_answer(
    name: str, columns: Sequence[str], load: Load, after: int | None, zone: ZoneInfo, rows_at_once: int = _CSV_ROWS
) -> Response:
    """The list as a file: at most 10,000 rows and some 32 million characters, found within ten seconds or so; its name
    says where more follow."""
    found = _FirstRows(load, after, rows_at_once)
    body = b"".join(csv_parts(columns, found, zone))
    return _csv_answer(f"{name}{'' if found.next_after is None else '-first-rows'}", body)


def csv_file(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Response:
    """Rows as a file that a spreadsheet opens."""
    return _csv_answer(name, b"".join(csv_parts(columns, rows, zone)))


def _csv_answer(name: str, body: bytes) -> Response:
    return Response(body, mimetype="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}.csv"'})


class _FirstRows:
    """The rows of a list as far as a file holds them."""

    def __init__(self, load: Load, after: int | None, rows_at_once: int) -> None:
        self._load = load
        self._rows_at_once = rows_at_once
        self.next_after = after
        """Once the rows are read: where the list goes on; None at its end."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        until = time.monotonic() + _CSV_SECONDS
        count, characters = 0, 0
        while count < _CSV_ROWS and time.monotonic() < until:
            part = self._load(self.next_after, min(self._rows_at_once, _CSV_ROWS - count), _CSV_PART_SECONDS)
            for row in part.rows:
                yield row
                characters += sum(len(value) for value in row.values() if isinstance(value, str))
                if characters > _CSV_CHARACTERS:
                    self.next_after = row["id"]
                    return
            count += len(part.rows)
            self.next_after = part.next_after
            if self.next_after is None:
                return


def add_links(routes: Blueprint) -> None:
    """Let templates link to the page that is shown, with other filters: `this_page(after=7)`; None leaves one out."""

    @routes.app_template_global("this_page")
    def this_page(**changes: object) -> str:
        held: dict[str, object] = {name: value for name, value in request.args.items() if value}
        kept = {name: value for name, value in {**held, **changes}.items() if value is not None}
        # Apart from the path: an address may hold any name, also one by which url_for makes another page of it.
        return f"{request.path}?{urlencode(kept)}" if kept else request.path

    @routes.app_template_global("lines")
    def lines(value: str | None) -> Iterator[str]:
        return iter((value or "").splitlines())


def begin_again() -> str:
    """What is said where the row that a page begins behind is gone."""
    return text(N_("The row that this page begins behind is gone: this is the first page."))
