"""Orders: the list with its search by any number, and one order's story."""

from functools import partial

from flask import Blueprint, Response, abort, redirect, render_template, url_for

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.accounts import Rules
from worker.domain.records.attention import Attention
from worker.domain.records.orders import OrderState
from worker.domain.watching.todo import TodoKind
from worker.domain.watching.workers import tick_allowance
from worker.runtime import rules_of, sids_of
from worker.settings import Settings
from worker.views.order import Outlook, Row, order_by_id, read_story
from worker.views.orders import OrderSearch, find_orders, is_searchable, key_of, search_orders
from worker.views.page import Page
from worker.web.console.languages import SKIN, text
from worker.web.console.lists import ROWS, SEARCH_SECONDS, Filters, csv_answer, show_list, storable, wants_csv
from worker.words.next_step import ARCHIVED, next_in_words, wait_in_words

_ANY = "any"


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/orders` and `/orders/N`."""
    rules, sids = rules_of(settings), sids_of(settings)
    allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)

    routes.add_url_rule("/orders", "orders", partial(_list, settings, database))

    @routes.get("/orders/<int:order_id>")
    def order(order_id: int) -> str:
        with database.snapshot() as connection:
            found = order_by_id(connection, storable(order_id))
        if found is None:
            abort(404)
        story = read_story(database, found, sids, allowance, rules)
        # What a person has to do about it; None where it needs nobody.
        reason = found["attention"] or (TodoKind.UNRESOLVED if found["state"] is OrderState.UNRESOLVED else None)
        return render_template(
            "console/order.html",
            story=story,
            order=story.order,
            following=_following(story.outlook, rules),
            reason=reason,
        )


def _list(settings: Settings, database: Database) -> str | Response:
    filters = Filters(zone=settings.zone, accounts=settings.accounts)
    wanted, number, after = _search_of(filters), filters.word("q"), filters.after()
    part: Page[Row] = Page(rows=[])
    if number and not is_searchable(number):
        filters.faults.append(text("No order can have this number: check it for commas, quotes or blanks."))
    elif wants_csv():
        return csv_answer(
            "orders", csv_columns.ORDERS, lambda *page: _load(database, wanted, number, *page), after, settings.zone
        )
    else:
        with database.snapshot() as connection:
            if after is not None and key_of(connection, after) is None:
                filters.faults.append(text("The row that this page begins behind is gone: this is the first page."))
                after = None
        part = _load(database, wanted, number, after, ROWS, SEARCH_SECONDS)
        if number and after is None and len(part.rows) == 1 and part.next_after is None:
            return redirect(url_for("console.order", order_id=part.rows[0]["id"]))  # type: ignore[return-value]  # werkzeug's own response, which Flask sends as it is
    return show_list("orders", part, filters, states=list(OrderState), reasons=list(Attention))


def _search_of(filters: Filters) -> OrderSearch:
    is_any = filters.word("attention") == _ANY
    return OrderSearch(
        accounts=filters.chosen_accounts(),
        states=filters.one_of("state", OrderState),
        attention=list(Attention) if is_any else filters.one_of("attention", Attention),
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


def _following(outlook: Outlook | None, rules: Rules) -> list[str]:
    """What happens to it next, and each reason why not yet."""
    if outlook is None:
        return [text(ARCHIVED)]
    following, now = outlook.next_step, outlook.now
    waits = [wait_in_words(step, outlook.state, now, rules, SKIN) for step in following.steps]
    return [next_in_words(following, now, SKIN), *waits]
