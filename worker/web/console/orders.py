"""Orders: the list with its search by any number, and one order's story."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from flask import Blueprint, Response, abort, redirect, render_template, url_for

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.parameters import Rules
from worker.domain.watching.next_step import Step, Wait
from worker.domain.watching.todo import TodoKind
from worker.domain.watching.workers import tick_allowance
from worker.runtime import rules_of, sids_of
from worker.settings import Settings
from worker.views.order import Outlook, Row, order_by_id, read_story
from worker.views.orders import OrderSearch, find_orders, is_searchable, key_of, search_orders
from worker.views.page import Page
from worker.web.console.languages import duration, shown_time, text
from worker.web.console.lists import ROWS, SEARCH_SECONDS, Filters, csv_answer, show_list, storable, wants_csv
from worker.words import N_

STATES: Mapping[OrderState, str] = MappingProxyType(
    {
        OrderState.PENDING: N_("No result yet: the platform has not said whether the recharge succeeded or failed."),
        OrderState.SUCCEEDED: N_("The recharge succeeded. This is final."),
        OrderState.FAILED: N_("The recharge failed. This is final."),
        OrderState.UNRESOLVED: N_("No result was found, and queries have stopped: a person has to decide."),
        OrderState.CANCELLED: N_("The order was cancelled. It is not queried."),
    }
)
"""What an order in each state is, in a sentence."""

WAITS: Mapping[Wait, str] = MappingProxyType(
    {
        Wait.FINAL: N_("It is final: it is not queried any more, and what the platform says later is only recorded."),
        Wait.CANCELLED: N_("It is cancelled: it is not queried any more."),
        Wait.UNRESOLVED: N_("Queries have stopped: settle it by hand, or reopen it. A callback still settles it."),
        Wait.IN_FLIGHT: N_(
            "A query that includes it is under way. Without an answer it may be queried again: %(until)s."
        ),
        Wait.GRACE: N_("Its callback is waited for until %(until)s."),
        Wait.NOT_DUE: N_(
            "The last answer found it still open. An earlier query would bring little, the next is due: %(until)s."
        ),
        Wait.NOT_CONFIGURED: N_("The settings do not name its account: nobody queries its orders."),
        Wait.NO_WORKER: N_("No worker is running: tell the administrator."),
        Wait.NOT_SERVED: N_("No running worker has its account: tell the administrator."),
        Wait.PAUSED: N_("An operator paused the account."),
        Wait.BACK_OFF: N_("The last query of the account failed; it waits until %(until)s."),
        Wait.BUDGET: N_("The platform allows %(slots)s in %(seconds)s s; the next may be sent: %(until)s."),
        Wait.APART: N_("It is queried apart from the others: queries with it failed, or answers left it out."),
        Wait.NEXT_QUERY: N_("The next query includes it."),
        Wait.QUEUE: N_("%(count)s other due orders may come before it, %(per_query)s a query."),
    }
)
"""Each reason to wait, as a sentence."""
_NOTHING = {Wait.FINAL, Wait.CANCELLED, Wait.UNRESOLVED}
_ANY = "any"


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/orders` and `/orders/N`."""
    rules, sids = rules_of(settings), sids_of(settings)
    allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)

    @routes.get("/orders")
    def orders() -> str | Response:
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

    @routes.get("/orders/<int:order_id>")
    def order(order_id: int) -> str:
        with database.snapshot() as connection:
            found = order_by_id(connection, storable(order_id))
        if found is None:
            abort(404)
        story = read_story(database, found, sids, allowance, rules)
        outlook, state = story.outlook, found["state"]
        # What a person has to do about it; None where it needs nobody.
        reason = found["attention"] or (TodoKind.UNRESOLVED if state is OrderState.UNRESOLVED else None)
        return render_template(
            "console/order.html",
            story=story,
            order=story.order,
            state_in_words=text(STATES[state]),
            next_in_words=None if outlook is None else _next_in_words(outlook),
            waits=[] if outlook is None else [_wait_in_words(step, outlook, rules) for step in outlook.next_step.steps],
            reason=reason,
        )


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


def _next_in_words(outlook: Outlook) -> str:
    """When it is queried next, as a sentence."""
    following, now = outlook.next_step, outlook.now
    waits = {step.wait for step in following.steps}
    if waits & _NOTHING:
        return text("Nothing happens by itself.")
    if Wait.IN_FLIGHT in waits:
        return text("The answer of a query that includes it.")
    if following.polled_at is None:
        return text("A query, but when cannot be said.")
    until = _at(following.polled_at, now)
    if following.is_at_the_earliest:
        return text("A query, at the earliest: %(until)s.", until=until)
    return text("A query: %(until)s.", until=until)


def _wait_in_words(step: Step, outlook: Outlook, rules: Rules) -> str:
    """One reason to wait, as a sentence."""
    return text(
        WAITS[step.wait],
        until="" if step.until is None else _at(step.until, outlook.now),
        slots=text("%(count)s queries", count=rules.slots) if rules.slots > 1 else text("one query"),
        seconds=f"{rules.spacing_seconds:g}",
        count=f"{step.count or 0:,}",
        per_query=step.per_query,
    )


def _at(time: datetime, now: datetime) -> str:
    """A time and how far ahead it lies; `now` for one that has passed."""
    wait = (time - now).total_seconds()
    if wait <= 0:
        return text("now")
    return text("%(time)s (in %(duration)s)", time=shown_time(time), duration=duration(wait))
