"""The pages of everything that needs a person: a list of orders to work through, and tabs for other things. Also the
counts in the navigation of each page."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, render_template, request, url_for

from worker.database.transactions import Connection, Database
from worker.domain.monitoring.todo import TodoKind
from worker.domain.monitoring.worker_processes import tick_allowance
from worker.domain.records.orders import OrderState
from worker.settings import Settings
from worker.settings.rules import rules_of
from worker.views.order import Row, last_heard, numbers_of
from worker.views.orders import ANY_REASON, OrderSearch, SummedOrders, count_found, find_orders
from worker.views.page import PAGE_SECONDS, Bound, Page
from worker.views.todo import MOST_COUNTED, TodoGroup, read_todo
from worker.web.console.lists import ROWS, Filters, show_list
from worker.web.console.orders import REASONS, known_after, search_of
from worker.web.shared_readings import Apart

TABS = {
    "order": ("order",),
    "account": ("account",),
    "notification": ("endpoint", "notification"),
    "unmatched": ("unmatched",),
    "rejected": ("rejected",),
}
"""The tabs of the page, and the kinds of `TodoGroup` that each tab shows. The first tab shows the list of orders
instead."""

# How many items of each reason the tabs show, except the tab of orders.
_SHOWN = 10
# How many items of each reason are counted at most. If more were counted, the page would take longer than a tenth of a
# second.
_COUNTED = 1_000
_FILTERS = ("attention", "state", "account", "from", "to", "sort")
# The counts are read in a separate thread, at most every five seconds, and take at most a twentieth of one connection's
# time. Counts older than a minute are not shown, because they would mislead.
_KEPT_SECONDS, _OLDEST_SECONDS, _SHARE = 5.0, 60.0, 20.0
_PATIENCE_SECONDS = 0.02


def add_routes(routes: Blueprint, settings: Settings, database: Database, apart: Apart) -> None:
    """Add `/attention` and `/attention/count`. For templates, add `todo_counts`, used on every page, and
    `next_in_list`, used on the page of an order. `apart` runs the reading of the counts."""
    routes.add_app_template_global(partial(next_in_list, settings, database), "next_in_list")
    allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)
    todo = partial(read_todo, database, rules_of(settings), list(settings.accounts), allowance)
    some = partial(todo, 1, most_counted=_COUNTED)
    counted = apart.shared(some, kept_seconds=_KEPT_SECONDS, oldest_seconds=_OLDEST_SECONDS, share=_SHARE)

    @routes.app_template_global("todo_counts")
    def todo_counts(patience_seconds: float = _PATIENCE_SECONDS) -> dict[str, Counter[str]] | None:
        """How many things need a person, by tab and by reason; None if the counts are not known within
        `patience_seconds`."""
        try:
            found = counted.latest(patience_seconds)
        except Exception:  # A page works without the counts; /attention shows the error.
            return None
        return None if found is None else _counts(found[0])

    @routes.get("/attention/count")
    def todo_count() -> str:
        return render_template("console/todo_count.html")

    @routes.get("/attention")
    def attention() -> str:
        # This only starts reading the counts, so that they are read at the same time as the list.
        todo_counts(0.0)
        tab = request.args.get("tab", "order")
        if tab == "order" or tab not in TABS:
            return _orders(settings, database)
        groups, now = todo(_SHOWN, most_counted=_COUNTED, with_orders=False)
        groups = [group for group in groups if group.kind in TABS[tab]]
        numbers = _numbers(database, groups)
        return render_template("console/attention_others.html", here=tab, groups=groups, now=now, numbers=numbers)


def list_search(filters: Filters) -> OrderSearch:
    """The search that the filters of the work list describe."""
    wanted = replace(search_of(filters), settled_since=None, settled_until=None)
    is_oldest_first = filters.word("sort") == "oldest"
    return replace(wanted, attention=wanted.attention or ANY_REASON, is_oldest_first=is_oldest_first)


def orders_to_work_on(connection: Connection, wanted: OrderSearch, *, after: int | None, most: int) -> Page[Row]:
    """A page of the wanted orders, from `find_orders`. Each row also has the order's amounts (`SummedOrders`), and
    `heard`: the event with the platform's last report on the order, or None."""
    page = find_orders(connection, wanted, after=after, most=most)
    heard = last_heard(connection, [row["id"] for row in page.rows])
    return replace(page, rows=[{**row, "heard": heard.get(row["id"])} for row in SummedOrders(page.rows)])


def next_in_list(settings: Settings, database: Database, order_id: int, seconds: Bound = PAGE_SECONDS) -> str | None:
    """The path of the next order in the work list; None at the end of the list.

    The parameter `list` in the address of the order's page has the query string of the list; without it, return None.
    If the search takes too long, return the path of the part of the list that begins after this order."""
    named = request.args.get("list")
    if named is None:
        return None
    given = dict(parse_qsl(named))
    wanted = list_search(Filters(zone=settings.zone, accounts=settings.accounts, given=given))
    with database.snapshot() as connection:
        found = find_orders(connection, wanted, after=order_id, most=1, seconds=seconds)
    if found.rows:
        return url_for("console.order", order_id=found.rows[0]["id"], list=named)
    rest = urlencode({**given, "after": order_id})
    return f"{url_for('console.attention')}?{rest}" if found.is_partial else None


def _orders(settings: Settings, database: Database) -> str:
    filters = Filters(zone=settings.zone, accounts=settings.accounts)
    wanted = list_search(filters)
    after = known_after(database, filters, wanted)
    with database.snapshot() as connection:
        part = orders_to_work_on(connection, wanted, after=after, most=ROWS)
        count = count_found(connection, wanted, MOST_COUNTED + 1)
        now = database.now(connection)
    chosen = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
    scope = {"attention": "any", **{name: value for name, value in chosen.items() if name != "sort"}}
    reason = wanted.attention[0] or TodoKind.UNRESOLVED if len(wanted.attention) == 1 else None
    shown: dict[str, object] = {"now": now, "count": count, "most_counted": MOST_COUNTED, "here": "order"}
    shown |= {"scope": scope, "reason": reason, "reasons": REASONS, "states": list(OrderState)}
    shown |= {"list_query": urlencode(chosen)}
    return show_list("attention", part, filters, **shown)


def _counts(groups: list[TodoGroup]) -> dict[str, Counter[str]]:
    tabs, reasons = Counter[str](), Counter[str]()
    for group in groups:
        tabs.update({tab: group.count for tab, kinds in TABS.items() if group.kind in kinds})
        reasons[group.reason.value] = group.count
    return {"tabs": tabs, "reasons": reasons}


def _numbers(database: Database, groups: list[TodoGroup]) -> Mapping[int, str]:
    """The number of each order that has a notification among the items, by the row id of the order."""
    refs = [item["ref"] for group in groups if group.kind == "notification" for item in group.items]
    with database.snapshot() as connection:
        return numbers_of(connection, [int(ref.removeprefix("id:")) for ref in refs])
