"""The list of orders, which can be searched for any number of an order, and the page of one order."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from flask import Blueprint, Response, abort, redirect, render_template, url_for

from worker.database.transactions import Database
from worker.domain.monitoring.todo import TodoKind
from worker.domain.monitoring.worker_processes import tick_allowance
from worker.domain.records import csv_columns
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import Attention, OrderState
from worker.domain.wire.fields import id_fault
from worker.settings import Settings
from worker.settings.rules import rules_of, sids_of
from worker.views.order import Outlook, Row, order_by_id, read_story
from worker.views.orders import (
    ANY_REASON,
    OrderSearch,
    SummedOrders,
    find_orders,
    key_of,
    search_orders,
    unlisted_of_act,
)
from worker.views.page import PAGE_SECONDS, Bound, OrNothing, Page
from worker.views.rejected_and_unmatched import recent_rejected, unmatched_with_id
from worker.web.console.files import ListFile, list_file, sum_name, wanted_format
from worker.web.console.lists import ROWS, Filters, show_list, storable
from worker.web.console.order_acts import add_order_acts
from worker.web.console.translations import SKIN, text
from worker.words.sentences import DELETED, next_in_words, wait_in_words

REASONS: Sequence[Attention | TodoKind] = (*Attention, TodoKind.UNRESOLVED)
"""The reasons why an order needs a person. The last one stands for an unresolved order that shows no other reason."""
_ANY = "any"
_MOST_ELSEWHERE = 10
_ELSEWHERE_SECONDS = OrNothing(0.1)
_FILE = ListFile(name="orders", columns=csv_columns.ORDERS, for_people=csv_columns.ORDERS_FOR_PEOPLE)


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """Add `/orders`, `/orders/N` and the acts on an order."""
    rules, sids = rules_of(settings), sids_of(settings)
    allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)

    routes.add_url_rule("/orders", "orders", partial(_list, settings, database))
    add_order_acts(routes, settings, database)

    @routes.get("/orders/<int:order_id>")
    def order(order_id: int) -> str:
        with database.snapshot() as connection:
            found = order_by_id(connection, storable(order_id))
        if found is None:
            abort(404)
        story = read_story(database, found, sids, allowance, rules)
        # Why the order needs a person; None if it does not.
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
    wanted, number = search_of(filters), filters.number()
    after = None if number is None else known_after(database, filters, wanted)
    unlisted = said_of_unlisted(database, wanted)
    part: Page[Row] = Page(rows=[])
    elsewhere: dict[str, object] = {}
    if number is None:
        pass
    elif wanted_format():
        load = partial(load_orders, database, wanted, number)
        return list_file(_FILE, load, after, filters.chosen, settings.zone)
    else:
        part = load_orders(database, wanted, number, after, ROWS)
        if number and after is None and len(part.rows) == 1 and part.next_after is None and not part.is_partial:
            return redirect(url_for("console.order", order_id=part.rows[0]["id"]))  # type: ignore[return-value]  # werkzeug's own response, which Flask sends as it is
        if number and after is None:
            elsewhere = _elsewhere(database, number)
    summed = SummedOrders(part.rows)
    shown = {"states": list(OrderState), "reasons": REASONS, "sum_name": sum_name, "unlisted": unlisted}
    shown["since"] = wanted.since or wanted.settled_since
    return show_list("orders", replace(part, rows=[*summed]), filters, sums=summed.sums(), **shown, **elsewhere)


def _elsewhere(database: Database, number: str) -> dict[str, object]:
    """The unmatched callbacks and the refused input that have a number. They are shown below the orders."""
    with database.read() as connection:
        most = _MOST_ELSEWHERE
        refused = recent_rejected(connection, holding=number, after=None, most=most, seconds=_ELSEWHERE_SECONDS)
        return {"unmatched": unmatched_with_id(connection, number, most), "refused": refused}


def known_after(database: Database, filters: Filters, wanted: OrderSearch) -> int | None:
    """The id of the order after which the page begins; None for the first page. If the list does not have this order, a
    fault is added to the filters, and None is returned."""
    after = filters.after()
    if after is None:
        return None
    with database.snapshot() as connection:
        if key_of(connection, after, wanted) is not None:
            return after
    filters.faults.append(text("The row that this page begins behind is gone: this is the first page."))
    return None


def said_of_unlisted(database: Database, wanted: OrderSearch) -> list[str]:
    """The message, as a list, for a search for an act's orders that does not find all of them; empty for all other
    searches."""
    if wanted.act_key is None:
        return []
    with database.read() as connection:
        count = unlisted_of_act(connection, wanted.act_key)
    return (
        [text("These are the newest orders of the act; %(count)s others are not in the list.", count)] if count else []
    )


def search_of(filters: Filters) -> OrderSearch:
    """The search that the filters of a list of orders describe."""
    is_any = filters.word("attention") == _ANY
    if is_any:
        filters.chosen["attention"] = text("Any")
    chosen = [] if is_any else filters.one_of("attention", REASONS)
    return OrderSearch(
        accounts=filters.chosen_accounts(),
        states=filters.one_of("state", OrderState),
        act_key=filters.fit("act", id_fault),
        attention=ANY_REASON if is_any else [one if isinstance(one, Attention) else None for one in chosen],
        since=filters.since(),
        until=filters.until(),
        settled_since=filters.since("settled_from"),
        settled_until=filters.until("settled_to"),
    )


def load_orders(
    database: Database, wanted: OrderSearch, number: str, after: int | None, most: int, seconds: Bound = PAGE_SECONDS
) -> Page[Row]:
    """A page of the wanted orders; with a number, of the wanted orders that the number may mean. Raises RuntimeError if
    the order `after` is gone: otherwise a list that is read page by page would begin again, and have some orders
    twice."""
    with database.snapshot() as connection:
        if after is not None and key_of(connection, after, wanted) is None:
            raise RuntimeError(f"the order that the list goes on behind is gone: id:{after}")
        if number:
            return search_orders(connection, number, wanted, after=after, most=most, seconds=seconds)
        return find_orders(connection, wanted, after=after, most=most, seconds=seconds)


def _following(outlook: Outlook | None, rules: Rules) -> list[str]:
    """The order's next step in words, and each reason why it has to wait."""
    if outlook is None:
        return [text(DELETED)]
    following, now = outlook.next_step, outlook.now
    waits = [wait_in_words(step, outlook.state, now, rules, SKIN) for step in following.steps]
    return [next_in_words(following, now, SKIN), *waits]
