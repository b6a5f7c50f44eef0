"""What a person does to one order: settle it by hand, reopen, cancel, dismiss, check and resend it."""

from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from flask import Blueprint, abort, request, url_for

from worker.database.transactions import Database
from worker.domain.orders import operator_acts as acts
from worker.domain.records.acts import ActKind
from worker.domain.records.attention import Attention
from worker.domain.records.orders import Order, OrderState
from worker.domain.wire.fields import amount_text, read_amount
from worker.operations.act_by_hand import Decide, Operator, OrdersActedOn, act_on_orders
from worker.operations.resend import Resent, resend
from worker.settings import Settings
from worker.views.order import order_to_act_on
from worker.web.console.acts import ActPage, Done, Field, add_act, is_confirmed, refusals, typed
from worker.web.console.languages import SKIN, meaning, shown_time, text, word, yuan
from worker.web.console.lists import storable
from worker.words.events import detail_text

_HEARD = ("kind", "source", "actor", "to_state", "traffic_sts", "remark", "ori_amount", "detail")
_FINAL = (OrderState.SUCCEEDED, OrderState.FAILED)


# What is most often wanted comes first: the page gives it more weight.
_ACTS = (ActKind.RESOLVE, ActKind.DISMISS, ActKind.CHECK, ActKind.REOPEN, ActKind.CANCEL, ActKind.RESEND)
_NEED_A_REASON = (ActKind.RESOLVE, ActKind.REOPEN)
# Of no use where the settings do not name the order's account.
_NEED_A_WORKER = (ActKind.CHECK, ActKind.REOPEN)


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/orders/ID/acts/ACT`, and `acts_on` for the page of an order."""

    @routes.app_template_global("acts_on")
    def acts_on(order_id: int, state: OrderState, attention: Attention | None) -> list[tuple[str, str, str]]:
        """The acts that make sense for an order: path, title, meaning."""
        return [
            (url_for("console.act_on_order", order_id=order_id, act=kind.value), word(kind), meaning(kind))
            for kind in _ACTS
            if acts.applies(kind, state, attention)
        ]

    def act_on_order(order_id: int, act: str) -> ActPage:
        with database.read() as connection:
            found = order_to_act_on(connection, storable(order_id))
        if found is None or act not in _ACTS:
            abort(404)
        order, last = found
        return _page(database, ActKind(act), order, _digest(order, last), settings)

    add_act(routes, "/orders/<int:order_id>/acts/<act>", "act_on_order", act_on_order)


def _digest(order: Order, last_event: Mapping[str, Any] | None) -> str:
    """Of what a person sees of an order, the last thing that was heard of it included: by it the form that is sent
    tells whether that has changed. What is heard again in the same words is no change."""
    heard = None if last_event is None else [last_event[name] for name in _HEARD]
    return sha256(repr((acts.what_is_seen(order), heard)).encode()).hexdigest()


def _page(database: Database, kind: ActKind, order: Order, seen: str, settings: Settings) -> ActPage:
    fields = _fields(kind, order)
    values = {one.name: one.value for one in fields}
    # The transaction decides once more.
    refused = detail_text(acts.refusal(kind, order), SKIN)
    if not refused and kind in _NEED_A_WORKER and acts.nobody_polls(order.account, settings.accounts):
        refused = text("Its account is not in the settings, so nobody polls it.")
    # What it is now is shown above: it takes another look, and another click.
    has_changed = not refused and is_confirmed() and typed("seen") != seen
    if has_changed:
        refused = text("The order has changed meanwhile. Nothing was done; look at what it is now.")
    return ActPage(
        title=word(kind),
        meaning=meaning(kind),
        about=_about(order),
        fields=fields,
        needs_reason=kind in _NEED_A_REASON,
        kept={"seen": seen},
        warnings=_warnings(order, values) if kind is ActKind.RESOLVE else [],
        refused=refused,
        is_stale=has_changed,
        back=f"orders/{order.id}",
        is_asked_twice=kind is ActKind.RESOLVE,
        do=lambda who: _do(database, who, kind, order, values),
    )


def _about(order: Order) -> list[tuple[str, str | None]]:
    """What an order is at present."""
    return [
        (text("Account"), order.account),
        (text("Platform number"), order.request_id),
        (text("Own number"), order.custom_parm),
        (text("Phone"), order.mobile),
        (text("State"), word(order.state)),
        (text("Reason for attention"), word(order.attention)),
        (text("Expected amount"), yuan(order.expected_amount)),
        (text("Price, not charged") if order.amount_is_price else text("Charged amount"), yuan(order.ori_amount)),
        (text("Settled by"), word(order.settled_by)),
        (text("Settled at"), shown_time(order.settled_at)),
        (text("Submitted at"), shown_time(order.submitted_at)),
        (text("The platform says"), order.remark),
    ]


def _fields(kind: ActKind, order: Order) -> list[Field]:
    if kind is ActKind.RESOLVE:
        return _result_fields()
    if kind is ActKind.REOPEN and acts.is_settled_by_platform(order):
        is_unticked = request.method == "POST" and typed("force") != "yes"
        tick = Field(
            name="force",
            label=text("The platform has settled it. I have asked the platform, and want it polled again."),
            kind="tick",
            value=typed("force"),
            fault=text("Ask the platform first, then tick that you have.") if is_unticked else "",
            is_required=True,
        )
        return [tick]
    return []


def _result_fields() -> list[Field]:
    state, amount = typed("state"), typed("amount")
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


def _warnings(order: Order, values: Mapping[str, str]) -> list[str]:
    """What speaks against a result that was typed."""
    warnings = []
    amount, expected = read_amount(values["amount"]), order.expected_amount
    if amount is not None and expected is not None and amount != expected:
        places = {"amount": amount_text(amount), "expected": amount_text(expected)}
        warnings.append(text("￥%(amount)s is not the expected amount of ￥%(expected)s.", **places))
    if order.lease_token is not None:
        warnings.append(text("A query is under way for it; what it brings will settle nothing any more."))
    return warnings


def _do(database: Database, who: Operator, kind: ActKind, order: Order, values: Mapping[str, str]) -> Done:
    done: Iterable[OrdersActedOn | Resent] = (
        resend(database, who, [order.id])
        if kind is ActKind.RESEND
        else act_on_orders(
            database, who, kind, [order.id], partial(acts.unless_changed, seen=order, decide=_decision(kind, values))
        )
    )
    refused = refusals(done)
    return (text("Nothing was done."), refused) if refused else text("Done: %(act)s.", act=word(kind))


def _decision(kind: ActKind, values: Mapping[str, str]) -> Decide:
    if kind is ActKind.RESOLVE:
        return partial(acts.resolve, state=OrderState(values["state"]), amount=read_amount(values["amount"]))
    if kind is ActKind.REOPEN:
        return partial(acts.reopen, force=values.get("force") == "yes")
    return {ActKind.CANCEL: acts.cancel, ActKind.DISMISS: acts.dismiss, ActKind.CHECK: acts.check}[kind]
