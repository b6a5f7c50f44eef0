"""Pages for finance: the figures of a period, and the comparison of a platform's statement with our orders.

Each page reads all orders of a period. A process reads for one such page at a time, for at most 20 seconds.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from flask import Blueprint, Response, make_response, redirect, render_template, request

from worker.adapters.csv_files import COLUMNS, StatementFault, read_rows
from worker.database.transactions import Database, is_transient
from worker.domain.finance.report import AMOUNTS, COUNTS, Grouping, Period, Report
from worker.domain.finance.statements import (
    DIFFERENCE_COLUMNS,
    USUAL_WORDS,
    Comparison,
    Difference,
    DifferenceKind,
    PeriodBy,
    state_words,
)
from worker.settings import Settings
from worker.views.finance import Check, compare_statement, read_report
from worker.web.console.files import ListFile, column_name, wanted_format, whole_file
from worker.web.console.lists import Filters
from worker.web.console.translations import in_words, text
from worker.words import N_

T = TypeVar("T")

LARGEST_STATEMENT = 16 * 1024 * 1024
"""The most bytes of an uploaded statement. There is a limit because the memory for a statement grows with its rows."""
_SECONDS = 20.0
_PATIENCE_SECONDS = 5.0
_MOST_DIFFERENCES = 100_000
_SHOWN = 200
_MOST_DAYS = 366
_COLUMNS = (*COUNTS, *AMOUNTS)
_DIFFERENCES = ListFile(
    name="differences",
    columns=DIFFERENCE_COLUMNS,
    for_people=[name for name in DIFFERENCE_COLUMNS if name != "order_id"],
)
BUSY = N_("Other orders are being counted at this moment. Please try again in half a minute.")
TOO_MANY = N_("There are more orders, or differences, than are counted at once. Please choose fewer days.")


class Refused(Exception):
    """Raised if the figures are not shown. Its message is the reason, in the language of the reader."""


class Readings:
    """Runs readings of very many orders, only one at a time, so that the other database connections are left for other
    pages."""

    def __init__(
        self, patience_seconds: float = _PATIENCE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._turn = threading.Lock()
        self._patience_seconds = patience_seconds
        self._clock = clock

    def read(self, read: Callable[[Check], T]) -> T:
        """Return the result of `read`. Raises `Refused` if another reading is under way for too long, or if this
        reading takes too long."""
        if not self._turn.acquire(timeout=self._patience_seconds):
            raise Refused(text(BUSY))
        until = self._clock() + _SECONDS

        def check(differences: int) -> None:
            if differences > _MOST_DIFFERENCES or self._clock() > until:
                raise Refused(text(TOO_MANY))

        try:
            return read(check)
        finally:
            self._turn.release()


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """Add `/finance`, `/finance/compare`, and `/finance/report`, which the page `/finance` loads by itself."""
    readings = Readings()

    @routes.get("/finance")
    def finance() -> str | Response:
        if not request.args.get("from"):
            yesterday = datetime.now(settings.zone).date() - timedelta(days=1)
            return make_response(redirect(f"{request.path}?from={yesterday}&to={yesterday}"))
        chosen = Filters(zone=settings.zone, accounts=settings.accounts).chosen_accounts()
        accounts = sorted({*settings.accounts, *chosen})
        return render_template("console/finance.html", accounts=accounts, times=PeriodBy, groupings=Grouping)

    @routes.get("/finance/report")
    def finance_report() -> str | Response | tuple[str, int]:
        filters = Filters(zone=settings.zone, accounts=settings.accounts)
        try:
            by = next(iter(filters.one_of("by", Grouping)), Grouping.DAY)
            period, accounts = _period(filters), filters.chosen_accounts()
            found = readings.read(lambda check: read_report(database, period, by, accounts, check))
        except Refused as why:
            return _refused(why)
        except Exception as error:
            if wanted_format() or not is_transient(error):
                raise
            return render_template("console/overview_away.html")
        return _report_file(found, by, filters, settings) if wanted_format() else _report_part(found, by)

    @routes.post("/finance/compare")
    def compare() -> str | Response | tuple[str, int]:
        filters = Filters(zone=settings.zone, accounts=settings.accounts, given=request.form)
        try:
            found = _compared(filters, list(settings.accounts), database, readings)
        except StatementFault as fault:
            return _refused(Refused(in_words(fault.sentence)))
        except Refused as why:
            return _refused(why)
        if wanted_format():
            return whole_file(_DIFFERENCES, map(_difference_row, found.differences), settings.zone, filters.chosen)
        return render_template("console/finance_compare.html", found=found, kinds=DifferenceKind, most=_SHOWN)


def _refused(why: Refused) -> tuple[str, int]:
    # A browser that loads a part of a page (htmx) shows the answer only if its status is 200.
    status = 200 if "HX-Request" in request.headers else 422
    return render_template("console/finance_refused.html", why=why), status


def _period(filters: Filters) -> Period:
    """The period from the chosen day `from` to the chosen day `to`. Raises `Refused` if these days are missing, or make
    no period or too long a one."""
    first, last = filters.day("from"), filters.day("to")
    if first is None:
        raise Refused(text("Please choose the days."))
    last = last or first
    if not 0 <= (last - first).days < _MOST_DAYS:
        raise Refused(text("Please choose up to %(most)s days, the last not before the first.", _MOST_DAYS))
    return Period(first=first, last=last, zone=filters.zone)


def _report_part(found: Report, by: Grouping) -> str:
    return render_template("console/finance_report.html", found=found, by=by, columns=_COLUMNS, column_name=column_name)


def _report_file(found: Report, by: Grouping, filters: Filters, settings: Settings) -> Response:
    total = found.total.as_row()
    rows = [{by.value: name, **figures.as_row()} for name, figures in found.rows.items()]
    described = ListFile(name="report", columns=(by.value, *total), for_people=(by.value, *_COLUMNS))
    return whole_file(described, rows, settings.zone, filters.chosen, [{by.value: text("Total"), **total}])


def _compared(filters: Filters, configured: list[str], database: Database, readings: Readings) -> Comparison:
    """Compare the uploaded statement with our orders. Raises `Refused` and StatementFault."""
    sent = request.files.get("statement")
    if sent is None or not sent.filename:
        raise Refused(text("Please choose the file of the statement."))
    period, accounts = _period(filters), filters.chosen_accounts() or configured
    if len(accounts) > 1:
        raise Refused(text("Please choose the account whose statement it is."))
    by = next(iter(filters.one_of("time", PeriodBy)), PeriodBy.SUBMITTED)
    try:
        words = state_words({state: filters.word(state).split() for state in USUAL_WORDS})
    except ValueError:
        raise Refused(text("One word cannot stand for two states.")) from None
    rows = read_rows(sent.stream, {name: filters.word(f"{name}_column") for name in COLUMNS}, words)  # type: ignore[arg-type]  # werkzeug names any stream of bytes
    found = readings.read(lambda check: compare_statement(database, rows, period, accounts, f"{by}_at", check))
    if found.differences and not found.statement.count and (why := found.differences[0].why):
        raise Refused(text("No row of the statement can be read:"), in_words(why))
    return found


def _difference_row(one: Difference) -> dict[str, Any]:
    row = {name: getattr(one, name) for name in DIFFERENCE_COLUMNS}
    return {**row, "why": in_words(one.why) if one.why else ""}
