"""An act on many orders: those that were ticked in a list, or all that pass the filters of the list; at most 10,000.

The first page shows the number of orders and their sums. Its form has the orders with their states; the database keeps
how many events each order had. Only these orders are changed, and each only if its state and its number of events are
still the same.

One request does a thousand orders. The page that answers it sends the next request by itself. If the requests stop
early, the finished part stays done and recorded. If the same confirmation is sent twice, the act is done once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from typing import Any

from flask import Blueprint, Response, abort, g, render_template, request, url_for

from worker.database.transactions import Database
from worker.domain.finance.report import Sums
from worker.domain.orders import operator_acts as acts
from worker.domain.records.operators import Act, ActKind
from worker.domain.records.orders import Attention, Order, OrderState
from worker.operations.act_by_hand import MOST_AT_ONCE as MOST_IN_A_REQUEST
from worker.operations.act_by_hand import Operator, Shown, keep_selection
from worker.settings import Settings
from worker.views.notifications import orders_given_up
from worker.views.orders import OrderSearch, SummedOrders, orders_by_id
from worker.web.console.acts import MOST_AT_ONCE, ActPage, add_act, typed
from worker.web.console.lists import LARGEST_ID, Filters, storable
from worker.web.console.order_acts import NEED_A_WORKER, do_to_orders
from worker.web.console.orders import load_orders, said_of_unlisted, search_of
from worker.web.console.translations import detail_word, local_path, meaning, text, word, yuan

_ACTS: Mapping[ActKind, Any] = {
    ActKind.DISMISS: acts.dismiss,
    ActKind.CHECK: acts.check,
    # Reopened orders are not polled next: otherwise thousands of them could fill every batch, and new orders would have
    # to wait.
    ActKind.REOPEN: partial(acts.reopen, is_polled_next=False),
    ActKind.CANCEL: acts.cancel,
    ActKind.RESEND: None,
}
# The only parameters that the address may have. An unknown filter would be ignored here, and the act would change
# orders that the list did not show.
_NAMES = frozenset(
    {"order", "scope", "next", "q", "state", "attention", "account", "act", "from", "to", "settled_from", "settled_to"}
)


@dataclass(kw_only=True)
class _Plan:
    """The orders of the act, as the form has them."""

    nonce: str
    """The key under which the database keeps the orders that this page has selected (`keep_selection`)."""
    count: int
    is_more: bool
    due: str
    charged: str
    difference: str
    left: dict[str, list[int]] = field(default_factory=dict)
    """The ids of the orders that are still to do, by state and attention."""
    refused: dict[str, list[int]] = field(default_factory=dict)
    """The ids of the refused orders, by the reason in words."""

    def standings(self) -> list[tuple[acts.Standing | None, list[int]]]:
        """The ids of the orders that are still to do, by state and attention; by None for orders that were already
        gone."""
        return [
            ((OrderState(state), Attention(attention) if attention else None) if state else None, ids)
            for (state, _, attention), ids in ((key.partition(" "), ids) for key, ids in self.left.items())
        ]

    def text(self) -> str:
        """The plan as text for the form."""
        return json.dumps(vars(self), separators=(",", ":"))


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """Add `/orders/acts/ACT`, and `bulk_acts` for lists of orders."""

    @routes.app_template_global("bulk_acts")
    def bulk_acts() -> list[tuple[str, str, str]]:
        """The acts that make sense for orders of the chosen state: path, title, meaning."""
        chosen = [state for state in OrderState if state == request.args.get("state")] or list(OrderState)
        return [
            (url_for("console.act_on_orders", act=kind.value), word(kind), meaning(kind))
            for kind in (_ACTS if g.viewer.may_act else ())
            if any(acts.applies(kind, state, Attention.TOO_OLD) for state in chosen)
        ]

    def page_of(act: str) -> ActPage:
        kind = next((kind for kind in _ACTS if kind == act), None)
        if kind is None or not _NAMES.issuperset(request.args):
            abort(404)
        return _page(settings, database, kind)

    add_act(routes, "/orders/acts/<act>", "act_on_orders", page_of)


def _page(settings: Settings, database: Database, kind: ActKind) -> ActPage:
    filters = Filters(zone=settings.zone, accounts=settings.accounts)
    wanted = search_of(filters)
    plan = _sent_plan() if request.method == "POST" else _new_plan(database, filters, wanted, kind)
    by_standing = [
        (" · ".join(filter(None, map(word, standing or ()))) or text("no longer there"), f"{len(ids):,}")
        for standing, ids in plan.standings()
    ]
    is_more = text("More match: these are the first %(count)s of the list. Do it again for the others.", plan.count)
    return ActPage(
        title=word(kind),
        meaning=meaning(kind),
        about=[
            (text("Orders"), f"{plan.count:,}"),
            *by_standing,
            (text("Expected amount"), plan.due),
            (text("Charged amount"), plan.charged),
            (text("Difference"), plan.difference),
        ],
        needs_reason=True,
        # The digest of the page is not needed: the plan in the form has the states that were shown.
        seen=None,
        kept={"plan": plan.text()},
        warnings=[*([is_more] if plan.is_more else []), *said_of_unlisted(database, wanted)],
        refused=" ".join(filters.faults) or ("" if plan.count else text("There are none.")),
        back=local_path(request.args.get("next", "/orders"))[1:],
        button=text("%(act)s: %(count)s orders", word(kind), plan.count),
        do=lambda who: _go_on(settings, database, who, kind, plan),
    )


def _new_plan(database: Database, filters: Filters, wanted: OrderSearch, kind: ActKind) -> _Plan:
    chosen, is_more = _selected(database, filters, wanted)
    with database.snapshot() as connection:
        found = orders_by_id(connection, chosen)
    gone = sorted(set(chosen) - {row["id"] for row in found})
    counts = {row["id"]: row["event_count"] for row in found}
    rows = SummedOrders(found)
    left: dict[str, list[int]] = {" ": gone} if gone else {}
    for row in rows:
        left.setdefault(f"{row['state']} {row['attention'] or ''}", []).append(row["id"])
    sums = dict(rows.sums()).get(None, Sums())
    return _Plan(
        nonce=keep_selection(database, counts),
        count=sums.count + len(gone),
        is_more=is_more,
        due=yuan(sums.due),
        charged=yuan(sums.charged),
        difference=yuan(sums.difference),
        left=left,
    )


def _selected(database: Database, filters: Filters, wanted: OrderSearch) -> tuple[Sequence[int], bool]:
    """The ids of the ticked orders, or of all orders that match; and whether more orders match than an act may change.
    A search that takes too long selects nothing and adds a fault to the filters."""
    scope, number = request.args.get("scope"), filters.number()
    if scope == "all":
        if filters.faults or number is None:
            return [], False
        part = load_orders(database, wanted, number, None, MOST_AT_ONCE + 1)
        if part.is_partial:
            filters.faults.append(text("The search took too long and selects no order: narrow it with another filter."))
            return [], False
        return [row["id"] for row in part.rows[:MOST_AT_ONCE]], part.next_after is not None
    if scope == "given-up":
        with database.read() as connection:
            ids = orders_given_up(connection, filters.account())
    else:
        numbers = (one[:20] for one in request.args.getlist("order"))
        ids = [storable(int(one)) for one in numbers if one.isascii() and one.isdecimal()]
    return sorted(set(ids))[:MOST_AT_ONCE], len(ids) > MOST_AT_ONCE


def _sent_plan() -> _Plan:
    """The plan that the form has. Answers 400 for anything that is not a plan."""
    try:
        sent = json.loads(typed("plan"))
        # JSON can have half of a character (a lone surrogate). No page can be written with it, so this raises an error.
        json.dumps(sent, ensure_ascii=False).encode()
        plan = _Plan(**sent)
        numbers: list[Any] = [plan.count, *chain(*plan.left.values(), *plan.refused.values())]
        if not all(isinstance(number, int) and 0 <= number <= LARGEST_ID for number in numbers):
            abort(400)
        plan.standings()
    except (ValueError, TypeError, AttributeError, RecursionError):
        abort(400)
    return plan


def _go_on(settings: Settings, database: Database, who: Operator, kind: ActKind, plan: _Plan) -> Response:
    """Do the act to the next thousand orders. The page that is returned shows the progress, and requests the rest."""

    def decide(order: Order, act: Act) -> acts.Decided:
        why = acts.account_refusal(order.account, settings.accounts) if kind in NEED_A_WORKER else None
        decided: acts.Decided = why or _ACTS[kind](order, act)
        return decided

    left = ((order_id, standing) for standing, ids in plan.standings() for order_id in ids)
    some = dict(islice(left, MOST_IN_A_REQUEST))
    # The key includes the name of the person: if somebody else sends the same plan, it is another act.
    key = sha256(f"{who.name} {kind} {plan.nonce}".encode()).hexdigest()[:32]
    who = replace(who, act_key=key, shown=Shown(orders=some, selection=plan.nonce))
    for order_id, why in do_to_orders(database, who, kind, list(some), decide).items():
        # Without the order's name, a reason has the same words for all orders, so they are listed together.
        plan.refused.setdefault(detail_word(why.having(order=None)), []).append(order_id)
    plan.left = {key: rest for key, ids in plan.left.items() if (rest := [one for one in ids if one not in some])}
    refused = sum(len(ids) for ids in plan.refused.values())
    past = plan.count - sum(len(ids) for ids in plan.left.values())
    page = render_template(
        "console/bulk_act.html",
        title=word(kind),
        plan=plan,
        sent=plan.text(),
        reason=who.reason,
        past=past,
        acted=past - refused,
        act_key=who.act_key,
        back=local_path(request.args.get("next", "/orders")),
    )
    return Response(page)
