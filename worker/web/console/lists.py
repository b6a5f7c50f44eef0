"""Lists: what they are narrowed by, a page of rows with a link to the next one, or all of them as CSV."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, abort, render_template, request

from worker.adapters.csv_cells import csv_parts
from worker.database.transactions import Database
from worker.domain.finance.report import Period
from worker.domain.wire.fields import id_fault
from worker.settings import Settings
from worker.views.page import Page
from worker.web.console.languages import text

Choice = TypeVar("Choice", bound=str)
Row = dict[str, Any]

ROWS = 50
"""How many rows a page has."""
SEARCH_SECONDS = 0.03
"""How long one table is searched for a page, which is to be there within a tenth of a second."""
_CSV_ROWS = 10_000
_CSV_SECONDS = 10.0
_CSV_PART_SECONDS = 0.5
_CSV_CHARACTERS = 32_000_000
_LARGEST_ID = 2**63 - 1


Load = Callable[[int | None, int, float], Page[Row]]
"""Reads so many rows behind an id, searching each table for so many seconds."""
Read = Callable[..., Page[Row]]
"""The same on a connection: a function of `worker.views` without the arguments that are given for each page by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class List:
    """A list: its filters, its page and its file."""

    name: str
    """Of its path, its template and its file."""
    columns: Sequence[str]
    """Of the file."""
    narrow: Callable[["Filters"], Read]
    """What reads the rows that the filters let through."""
    shown: Callable[["Filters"], Mapping[str, object]] = lambda _: {}
    """What the page shows besides."""
    rows_at_once: int = _CSV_ROWS
    """How many rows are read at once for the file."""


def add_list(routes: Blueprint, settings: Settings, database: Database, described: List) -> None:
    """The route of a list."""

    def show() -> str | Response:
        filters = Filters(zone=settings.zone, accounts=settings.accounts)
        read, after = described.narrow(filters), filters.after()

        def load(after: int | None, most: int, seconds: float) -> Page[Row]:
            with database.snapshot() as connection:
                return read(connection, after=after, most=most, seconds=seconds)

        if wants_csv():
            return csv_answer(described.name, described.columns, load, after, settings.zone, described.rows_at_once)
        shown = described.shown(filters)
        return show_list(described.name, load(after, ROWS, SEARCH_SECONDS), filters, **shown)

    routes.add_url_rule(f"/{described.name}", described.name, show)


def show_list(name: str, part: Page[Row], filters: "Filters", **shown: object) -> str:
    """A page of a list, by the template of this name."""
    accounts = sorted({*filters.accounts})
    return render_template(f"console/{name}.html", part=part, faults=filters.faults, accounts=accounts, **shown)


@dataclass(kw_only=True, slots=True)
class Filters:
    """Reads the fields of the request; what cannot be read is left out and named in `faults`, in its language."""

    zone: ZoneInfo
    accounts: Iterable[str]
    """What an account may be chosen from; the one that is chosen is added, if it is another."""
    faults: list[str] = field(default_factory=list)

    def word(self, name: str) -> str:
        """The text of a field, without the blanks around it; empty where it is not filled in."""
        return request.args.get(name, "").strip()

    def one_of(self, name: str, values: Iterable[Choice]) -> list[Choice]:
        """The one of these values that is chosen; none where none is."""
        word = self.word(name)
        found = [value for value in values if value == word]
        if not found:
            self._refuse(word)
        return found

    def account(self) -> str | None:
        """The account; one that the settings do not name any more may still have rows."""
        value = self.word("account")
        if not value or id_fault(value):
            self._refuse(value)
            return None
        self.accounts = {*self.accounts, value}
        return value

    def chosen_accounts(self) -> list[str]:
        """The same in a list, which is empty where none is chosen."""
        account = self.account()
        return [account] if account else []

    def since(self) -> datetime | None:
        """The first moment of the day `from`."""
        day = self._day("from")
        return None if day is None else day.start

    def until(self) -> datetime | None:
        """The first moment after the day `to`."""
        day = self._day("to")
        return None if day is None else day.end

    def after(self) -> int | None:
        """The id of the row that the page begins behind."""
        value = self.word("after")
        is_id = value.isascii() and value.isdigit() and len(value) < 20 and 0 < int(value) <= _LARGEST_ID
        if not is_id:
            self._refuse(value)
        return int(value) if is_id else None

    def _day(self, name: str) -> Period | None:
        value = self.word(name)
        try:
            day = date.fromisoformat(value)
            return Period(first=day, last=day, zone=self.zone)
        except (ValueError, OverflowError):
            self._refuse(value)
            return None

    def _refuse(self, value: str) -> None:
        # What is not filled in is no fault.
        if value:
            self.faults.append(text("“%(value)s” cannot be read here, and was left out.", value=value[:100]))


def storable(row_id: int) -> int:
    """The id of a row, as a path names it. Answers 404 for a number that no database takes."""
    if row_id > _LARGEST_ID:
        abort(404)
    return row_id


def wants_csv() -> bool:
    """Whether the request is for the file."""
    return request.args.get("format") == "csv"


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

    def __iter__(self) -> Iterator[Row]:
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
