"""What a person does to one order: settle it by hand, reopen, cancel, dismiss, check and resend it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from flask import Blueprint, Response, abort, request, url_for

from worker.database.transactions import Database
from worker.domain import operator_acts as acts
from worker.domain.field_rules import amount_text, read_amount
from worker.domain.operator_acts import what_is_seen
from worker.domain.records.acts import ActKind
from worker.domain.records.orders import Attention, Order, OrderState, Source
from worker.operations.act_by_hand import Decide, act_on_orders
from worker.operations.resend import resend
from worker.settings import Settings
from worker.views.order import order_to_act_on
from worker.web.console import acting
from worker.web.console.acting import ActPage, Field
from worker.web.console.filters import storable
from worker.web.console.formats import time_in_zone
from worker.web.console.languages import N_, text
from worker.web.console.words import word

_HEARD = ("kind", "source", "actor", "to_state", "traffic_sts", "remark", "ori_amount", "detail")
_FINAL = (OrderState.SUCCEEDED, OrderState.FAILED)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderAct:
    """One act: when it makes sense, what it means, what it asks."""

    title: str
    meaning: str
    applies: Callable[[OrderState, Attention | None], bool]
    needs_reason: bool = False
    needs_worker: bool = False
    """Whether it is of no use where the settings do not name the order's account."""


# What is most often wanted comes first: the page gives it more weight.
ACTS: Mapping[ActKind, OrderAct] = {
    ActKind.RESOLVE: OrderAct(
        title=N_("Settle by hand"),
        meaning=N_(
            "Makes the order final by your word, once you know from the platform what became of it. It is queried no"
            " more. What the platform says later is compared, and shown where it contradicts."
        ),
        applies=lambda state, _: not state.is_final,
        needs_reason=True,
    ),
    ActKind.DISMISS: OrderAct(
        title=N_("Dismiss the attention"),
        meaning=N_("Takes the order off the list of those that need a person. Its state stays as it is."),
        applies=lambda _, attention: attention is not None,
    ),
    ActKind.CHECK: OrderAct(
        title=N_("Check now"),
        meaning=N_("Queries the order before others, within the same limit."),
        applies=lambda state, _: state is OrderState.PENDING,
        needs_worker=True,
    ),
    ActKind.REOPEN: OrderAct(
        title=N_("Reopen"),
        meaning=N_("Makes the order pending again and queries it next. Its result is cleared; the history keeps it."),
        applies=lambda state, _: state is not OrderState.PENDING,
        needs_reason=True,
        needs_worker=True,
    ),
    ActKind.CANCEL: OrderAct(
        title=N_("Cancel"),
        meaning=N_(
            "Stops the queries of an order that was dealt with otherwise. It cancels nothing at the platform. A result"
            " that comes later is shown, and changes nothing."
        ),
        applies=lambda state, _: state.may_settle,
    ),
    ActKind.RESEND: OrderAct(
        title=N_("Resend"),
        meaning=N_("Sends the billing system once more how the order stands. What it knows already it ignores."),
        applies=lambda state, _: state is not OrderState.PENDING,
    ),
}


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/orders/ID/acts/ACT`, and `acts_on` for the page of an order."""

    @routes.app_template_global("acts_on")
    def acts_on(order_id: int, state: OrderState, attention: Attention | None) -> list[tuple[str, str, str]]:
        """The acts that make sense for an order: path, title, meaning."""
        return [
            (url_for("console.act_on_order", order_id=order_id, act=kind.value), text(act.title), text(act.meaning))
            for kind, act in ACTS.items()
            if act.applies(state, attention)
        ]

    @routes.route("/orders/<int:order_id>/acts/<act>", methods=["GET", "POST"])
    def act_on_order(order_id: int, act: str) -> Response:
        acting.operator()
        kind = next((kind for kind in ACTS if kind == act), None)
        with database.read() as connection:
            found = order_to_act_on(connection, storable(order_id))
        if kind is None or found is None:
            abort(404)
        order, last_event = found
        page = _page(kind, order, _digest(order, last_event), settings)
        if acting.is_confirmed() and not page.has_faults and not page.refused:
            return _do(database, kind, order, page)
        return acting.show(page)


def order_path(order_id: int) -> str:
    """The page of an order."""
    return f"{url_for('console.overview')}orders/{order_id}"


def about_order(order: Order) -> list[tuple[str, str]]:
    """What an order is at present, for the page that asks."""
    shown = [
        (text("Account"), order.account),
        (text("Platform number"), order.request_id),
        (text("Own number"), order.custom_parm),
        (text("Phone"), order.mobile),
        (text("State"), word(order.state)),
        (text("Reason for attention"), word(order.attention)),
        (text("Expected amount"), None if order.expected_amount is None else f"￥{amount_text(order.expected_amount)}"),
        (
            text("Price, not charged") if order.amount_is_price else text("Charged amount"),
            None if order.ori_amount is None else f"￥{amount_text(order.ori_amount)}",
        ),
        (text("Settled by"), word(order.settled_by)),
        (text("Settled at"), None if order.settled_at is None else time_in_zone(order.settled_at)),
        (text("Submitted at"), time_in_zone(order.submitted_at)),
        (text("The platform says"), order.remark),
    ]
    return [(name, value) for name, value in shown if value]


def _digest(order: Order, last_event: Mapping[str, Any] | None) -> str:
    """Of what a person sees of an order, the last thing that was heard of it included: by it the form that is sent
    tells whether that has changed. What is heard again in the same words is no change."""
    heard = None if last_event is None else [last_event[name] for name in _HEARD]
    return sha256(repr((what_is_seen(order), heard)).encode()).hexdigest()


def _page(kind: ActKind, order: Order, seen: str, settings: Settings) -> ActPage:
    act = ACTS[kind]
    fields = [*_fields(kind, order), acting.reason_field(is_required=act.needs_reason)]
    refused = _refusal(kind, order)
    if not refused and act.needs_worker and acts.nobody_polls(order.account, settings.accounts):
        refused = text("Its account is not in the settings, so nobody queries it.")
    has_changed = acting.is_confirmed() and acting.typed("seen") != seen
    return ActPage(
        title=text(act.title),
        meaning=text(act.meaning),
        about=about_order(order),
        fields=fields,
        kept={"seen": seen},
        warnings=_warnings(kind, order, fields),
        # What it is now is shown above: it takes another look, and another click.
        refused=refused or (_changed() if has_changed else ""),
        is_stale=has_changed and not refused,
        back=order_path(order.id),
        button=text(act.title),
        is_asked_twice=kind is ActKind.RESOLVE,
    )


def _changed() -> str:
    return text("The order has changed meanwhile. Nothing was done; look at what it is now.")


def _fields(kind: ActKind, order: Order) -> list[Field]:
    if kind is ActKind.RESOLVE:
        return _result_fields()
    if kind is ActKind.REOPEN and _is_settled_by_platform(order):
        is_unticked = request.method == "POST" and acting.typed("force") != "yes"
        tick = Field(
            name="force",
            label=text("The platform has settled it. I have asked the platform, and want it queried again."),
            kind="tick",
            value=acting.typed("force"),
            fault=text("Ask the platform first, then tick that you have.") if is_unticked else "",
            is_required=True,
        )
        return [tick]
    return []


def _result_fields() -> list[Field]:
    state, amount = acting.typed("state"), acting.typed("amount")
    is_sent = request.method == "POST"
    no_state = is_sent and state not in _FINAL
    no_amount = is_sent and read_amount(amount) is None and (bool(amount) or state == OrderState.SUCCEEDED)
    return [
        Field(
            name="state",
            label=text("What became of the recharge"),
            kind="choice",
            value=state,
            options=[(one.value, word(one)) for one in _FINAL],
            fault=text("Choose one.") if no_state else "",
            is_required=True,
        ),
        Field(
            name="amount",
            label=text("Charged amount in yuan"),
            kind="amount",
            value=amount,
            hint=text("What the platform charged; needed where the recharge has succeeded."),
            fault=text("Write an amount such as 2.94.") if no_amount else "",
        ),
    ]


def _is_settled_by_platform(order: Order) -> bool:
    return order.state.is_final and order.settled_by is not Source.OPERATOR


def _refusal(kind: ActKind, order: Order) -> str:
    """Why the order is not in a state for it, in the language of the request; the transaction decides once more."""
    if ACTS[kind].applies(order.state, order.attention):
        return ""
    if kind is ActKind.DISMISS:
        return text("It needs nobody: there is nothing to dismiss.")
    if order.state is OrderState.PENDING:
        return text("It is pending.")
    if kind is ActKind.CHECK:
        return text("It is not pending any more: reopen it first.")
    return text("Its state is: %(state)s. Reopen it first.", state=word(order.state))


def _warnings(kind: ActKind, order: Order, fields: list[Field]) -> list[str]:
    values = {one.name: one.value for one in fields}
    warnings = []
    amount, expected = read_amount(values.get("amount", "")), order.expected_amount
    if kind is ActKind.RESOLVE and amount is not None and expected is not None and amount != expected:
        warnings.append(
            text(
                "￥%(amount)s is not the expected amount of ￥%(expected)s.",
                amount=amount_text(amount),
                expected=amount_text(expected),
            )
        )
    if kind is ActKind.RESOLVE and order.lease_token is not None:
        warnings.append(text("A query is under way for it; what it brings will settle nothing any more."))
    return warnings


def _do(database: Database, kind: ActKind, order: Order, page: ActPage) -> Response:
    who = acting.operator(acting.reason_of(page))
    if kind is ActKind.RESEND:
        refusals = [why for done in resend(database, who, [order.id]) for why in done.refusals.values()]
    else:
        decide = partial(acts.unless_changed, seen=order, decide=_decision(kind, page))
        (done,) = act_on_orders(database, who, kind, [order.id], decide)
        refusals = list(done.refusals.values())
    if refusals:
        return acting.finish(page.back, text("Nothing was done."), refusals)
    return acting.finish(page.back, text("Done: %(act)s.", act=page.title))


def _decision(kind: ActKind, page: ActPage) -> Decide:
    values = {one.name: one.value for one in page.fields}
    if kind is ActKind.RESOLVE:
        return partial(acts.resolve, state=OrderState(values["state"]), amount=read_amount(values["amount"]))
    if kind is ActKind.REOPEN:
        return partial(acts.reopen, force=values.get("force") == "yes")
    return {ActKind.CANCEL: acts.cancel, ActKind.DISMISS: acts.dismiss, ActKind.CHECK: acts.check}[kind]
