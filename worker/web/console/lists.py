"""The lists of the console: their filters, their pages (each with a link to the next page), and their files."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, abort, render_template, request

from worker.database.transactions import Database
from worker.domain.finance.report import Period
from worker.domain.wire.fields import id_fault, typed_number
from worker.settings import Settings
from worker.views.page import PAGE_SECONDS, Bound, Page
from worker.web.console.files import ListFile, list_file, wanted_format
from worker.web.console.translations import outcome_word, text
from worker.web.console.translations import word as name_of

Choice = TypeVar("Choice", bound=str)
Row = dict[str, Any]

ROWS = 50
"""How many rows a page has at most."""
LARGEST_ID = 2**63 - 1
"""The largest id of a row in any database."""
_DAY = timedelta(days=1)


Read = Callable[..., Page[Row]]
"""Reads a page of rows. It is a function of `worker.views` with all arguments bound except the connection, `after`,
`most` and `seconds`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class List(ListFile):
    """A list: its filters, its page and its file. `name` is also the name of its path and of its template."""

    narrow: Callable[["Filters"], Read]
    """Returns the function that reads the rows that pass these filters."""
    shown: Callable[["Filters"], Mapping[str, object]] = lambda _: {}
    """Returns further variables for the template of the list."""


def add_list(routes: Blueprint, settings: Settings, database: Database, described: List) -> None:
    """Add the route of a list."""

    def show() -> str | Response:
        filters = Filters(zone=settings.zone, accounts=settings.accounts)
        read, after = described.narrow(filters), filters.after()

        def load(after: int | None, most: int, seconds: Bound = PAGE_SECONDS) -> Page[Row]:
            with database.snapshot() as connection:
                return read(connection, after=after, most=most, seconds=seconds)

        if wanted_format():
            return list_file(described, load, after, filters.chosen, settings.zone)
        shown = described.shown(filters)
        return show_list(described.name, load(after, ROWS), filters, **shown)

    routes.add_url_rule(f"/{described.name}", described.name, show)


def show_list(name: str, part: Page[Row], filters: "Filters", **shown: object) -> str:
    """Render a page of a list with the template of this name."""
    accounts = sorted({*filters.accounts})
    return render_template(f"console/{name}.html", part=part, faults=filters.faults, accounts=accounts, **shown)


@dataclass(kw_only=True, slots=True)
class Filters:
    """Reads the filters that the request has chosen. A value that cannot be read is ignored, and named in `faults`, in
    the language of the request."""

    zone: ZoneInfo
    accounts: Iterable[str]
    """The accounts to choose from. If the request chooses another account, it is added."""
    given: Mapping[str, str] = field(default_factory=lambda: request.args)
    faults: list[str] = field(default_factory=list)
    chosen: dict[str, str] = field(default_factory=dict)
    """The chosen values, in the language of the request, by the name of the field."""

    def word(self, name: str) -> str:
        """The text of a field, without the blanks around it; empty if it is not filled in."""
        return self.given.get(name, "").strip()

    def number(self) -> str | None:
        """The number to search for; empty if none is given, and None if no order can have it."""
        value = typed_number(self.word("q"))
        if value and id_fault(value):
            self.faults.append(text("No order can have this number: check it for commas, quotes or brackets."))
            return None
        if value:
            self.chosen["q"] = value
        return value

    def one_of(self, name: str, values: Iterable[Choice]) -> list[Choice]:
        """A list with the value among `values` that is chosen; empty if none is chosen."""
        word = self.word(name)
        found = [value for value in values if value == word]
        if not found:
            self._refuse(word)
        for value in found:
            self.chosen[name] = name_of(value) if isinstance(value, StrEnum) else outcome_word(value)
        return found

    def account(self) -> str | None:
        """The chosen account; None if none is chosen. The account need not be in the settings: an account that was
        removed from them may still have rows."""
        value = self.fit("account", id_fault)
        if value is not None:
            self.accounts = {*self.accounts, value}
        return value

    def fit(self, name: str, fault: Callable[[str], str | None]) -> str | None:
        """The text of a field; None if it is not filled in or has a fault."""
        value = self.word(name)
        if fault(value):
            self._refuse(value)
            return None
        self.chosen[name] = value
        return value

    def chosen_accounts(self) -> list[str]:
        """The chosen account as a list; empty if none is chosen."""
        account = self.account()
        return [account] if account else []

    def since(self, name: str = "from") -> datetime | None:
        """The first moment of the chosen day; None if none is chosen."""
        day = self._day(name)
        return None if day is None else day.start

    def until(self, name: str = "to") -> datetime | None:
        """The first moment after the chosen day; None if none is chosen."""
        day = self._day(name)
        return None if day is None else day.end

    def day(self, name: str) -> date | None:
        """The chosen day; None if none is chosen."""
        day = self._day(name)
        return None if day is None else day.first

    def after(self) -> int | None:
        """The id of the row after which the page begins; None for the first page."""
        value = self.word("after")
        is_id = value.isascii() and value.isdigit() and len(value) < 20 and 0 < int(value) <= LARGEST_ID
        if not is_id:
            self._refuse(value)
        return int(value) if is_id else None

    def _day(self, name: str) -> Period | None:
        value = self.word(name)
        try:
            day = date.fromisoformat(value)
            period = Period(first=day, last=day, zone=self.zone)
        except (ValueError, OverflowError):
            self._refuse(value)
            return None
        self.chosen[name] = value
        return period

    def _refuse(self, value: str) -> None:
        # An empty field is not a fault.
        if value:
            self.faults.append(text("“%(value)s” cannot be read here, and was left out.", value[:100]))


def storable(row_id: int) -> int:
    """The row id that a path names. Answers 404 for a number that no database can store."""
    if row_id > LARGEST_ID:
        abort(404)
    return row_id


def add_links(routes: Blueprint, zone: ZoneInfo) -> None:
    """Add two functions for templates. `this_page(after=7)` is the address of this page with a changed filter; the
    value None removes a filter. `day_ranges` has ranges of days that are often chosen."""

    @routes.app_template_global("day_ranges")
    def day_ranges() -> list[tuple[str, tuple[str, str]]]:
        today = datetime.now(zone).date()
        days = [(text("Today"), today, today), (text("Yesterday"), today - _DAY, today - _DAY)]
        days += [(text("Last 7 days"), today - 6 * _DAY, today), (text("This month"), today.replace(day=1), today)]
        return [(words, (f"{first}", f"{last}")) for words, first, last in days]

    @routes.app_template_global("this_page")
    def this_page(**changes: object) -> str:
        held: dict[str, object] = {name: value for name, value in request.args.items() if value}
        kept = {name: value for name, value in {**held, **changes}.items() if value is not None}
        # url_for is not used here: the address may have parameters with any name, even the name of one of url_for's own
        # arguments.
        return f"{request.path}?{urlencode(kept)}" if kept else request.path
