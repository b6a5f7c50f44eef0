"""The list of orders, and the search by any number."""

from flask import Blueprint, Response, redirect, render_template, url_for

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.orders import Attention, OrderState
from worker.settings import Settings
from worker.views.order import Row
from worker.views.orders import OrderSearch, find_orders, is_searchable, key_of, search_orders
from worker.views.page import Page
from worker.web.console.filters import Filters, known_accounts
from worker.web.console.languages import N_, text
from worker.web.console.listing import ROWS, SEARCH_SECONDS, begin_again, csv_answer, wants_csv

_ANY = "any"


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/orders`."""

    @routes.get("/orders")
    def orders() -> str | Response:
        filters = Filters(zone=settings.zone)
        wanted, number, after = _search_of(filters), filters.word("q"), filters.after()
        if number and not is_searchable(number):
            filters.faults.append(text(N_("No order can have this number: check it for commas, quotes or blanks.")))
            part: Page[Row] = Page(rows=[])
        elif wants_csv():
            return csv_answer(
                "orders", csv_columns.ORDERS, lambda *page: _load(database, wanted, number, *page), after, settings.zone
            )
        else:
            with database.snapshot() as connection:
                if after is not None and key_of(connection, after) is None:
                    filters.faults.append(begin_again())
                    after = None
            part = _load(database, wanted, number, after, ROWS, SEARCH_SECONDS)
            if number and after is None and len(part.rows) == 1 and part.next_after is None:
                return redirect(url_for("console.order", order_id=part.rows[0]["id"]))  # type: ignore[return-value]  # werkzeug's own response, which Flask sends as it is
        return render_template(
            "console/orders.html",
            part=part,
            faults=filters.faults,
            states=list(OrderState),
            reasons=list(Attention),
            accounts=known_accounts(list(settings.accounts), filters.account()),
        )


def _search_of(filters: Filters) -> OrderSearch:
    account, state = filters.account(), filters.choice("state", OrderState)
    is_any = filters.word("attention") == _ANY
    reason = None if is_any else filters.choice("attention", Attention)
    return OrderSearch(
        accounts=[account] if account else (),
        states=[state] if state else (),
        attention=list(Attention) if is_any else [reason] if reason else (),
        since=filters.since(),
        until=filters.until(),
    )


def _load(
    database: Database, wanted: OrderSearch, number: str, after: int | None, most: int, seconds: float
) -> Page[Row]:
    # An order may be moved to the archive or back meanwhile: both tables are read as they were at one moment.
    with database.snapshot() as connection:
        if number:
            return search_orders(connection, number, wanted, after=after, most=most, seconds=seconds)
        return find_orders(connection, wanted, after=after, most=most, seconds=seconds)
