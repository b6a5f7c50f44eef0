"""The acts on one order: settle it by hand, reopen, cancel, dismiss, check and resend it, and write a note."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from flask import Blueprint, abort, request, url_for

from worker.database.transactions import Database
from worker.domain.orders import operator_acts as acts
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.operators import Act, ActKind
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Order, OrderState, Source
from worker.domain.wire.fields import amount_text, read_written_amount
from worker.operations.act_by_hand import Decide, Operator, Shown, act_on_orders
from worker.operations.resend import resend
from worker.settings import Settings
from worker.views.order import Row, order_to_act_on
from worker.web.console.acts import ActPage, Done, Field, add_act, typed
from worker.web.console.lists import storable
from worker.web.console.translations import detail_word, meaning, shown_time, text, word, yuan

_HEARD = ("kind", "source", "actor", "to_state", "traffic_sts", "remark", "ori_amount", "detail")
_FINAL = (OrderState.SUCCEEDED, OrderState.FAILED)
_ACTS = (ActKind.RESOLVE, ActKind.DISMISS, ActKind.CHECK, ActKind.REOPEN, ActKind.CANCEL, ActKind.RESEND)
_NEED_A_REASON = (ActKind.RESOLVE, ActKind.REOPEN, ActKind.NOTE)
# These acts have no effect if the settings do not name the order's account.
NEED_A_WORKER = (ActKind.CHECK, ActKind.REOPEN)
# Events of these kinds are decided by the worker, even if their source is a query or a callback.
_BY_WORKER = (EventKind.ASKED_ALONE, EventKind.SUSPECTED, EventKind.CLEARED, EventKind.GAVE_UP, EventKind.OVERDUE)


def add_order_acts(routes: Blueprint, settings: Settings, database: Database) -> None:
    """Add `/orders/N/acts/ACT`. For the templates, add `acts_on`, the acts that make sense for an order, and the filter
    `who`, the actor of an event."""
    routes.add_app_template_filter(_who, "who")
    routes.add_app_template_global(_acts_on, "acts_on")

    def act_on_order(order_id: int, act: str) -> ActPage:
        with database.read() as connection:
            found = order_to_act_on(connection, storable(order_id))
        if found is None or act not in (*_ACTS, ActKind.NOTE):
            abort(404)
        return _act_page(database, ActKind(act), *found, settings)

    add_act(routes, "/orders/<int:order_id>/acts/<act>", "act_on_order", act_on_order)


def _acts_on(order: Row) -> list[tuple[str, str, str, str]]:
    """The acts that make sense for an order: path, title, meaning and CSS class. The most needed act comes first. An
    act that clears a result comes last, and is shown apart from the others."""
    state, attention = order["state"], order["attention"]
    needed = acts.most_needed(state, attention)
    found = []
    for kind in sorted(_ACTS, key=lambda kind: (kind is not needed, _clears_result(kind, state))):
        if acts.applies(kind, state, attention):
            path = url_for("console.act_on_order", order_id=order["id"], act=kind.value, list=request.args.get("list"))
            weight = "needed" if kind is needed else "apart" if _clears_result(kind, state) else ""
            found.append((path, *_named(kind, state), weight))
    return found


def _clears_result(kind: ActKind, state: OrderState) -> bool:
    return kind is ActKind.REOPEN and state.is_final


def _named(kind: ActKind, state: OrderState) -> tuple[str, str]:
    """The name of an act, and its meaning."""
    if not _clears_result(kind, state):
        return word(kind), meaning(kind)
    means = text(
        "Only where the platform says that its result was wrong: state, amount and time of the result are cleared, and"
        " the order is polled next. Who has booked the result has to be told."
    )
    return text("Clear the result and poll again"), means


def _who(event: Row) -> str:
    """The actor of an event of an order."""
    if event["actor"]:
        return text("operator %(name)s", event["actor"])
    return word(Source.WORKER if event["kind"] in _BY_WORKER else event["source"])


def _seen(order: Order, events: Sequence[Row]) -> object:
    """The state of an order that a person sees, with the contents of its last event. A new event with the same contents
    does not count as a change."""
    return acts.what_is_seen(order), [[event[name] for name in _HEARD] for event in events[-1:]]


def _changes(events: Sequence[Row]) -> list[str]:
    """Who changed what and when: all events after the last one that the sent form knew; if the form names no known
    event, only the last event."""
    ids = [str(event["id"]) for event in events]
    known = ids.index(typed("known")) + 1 if typed("known") in ids else -1
    return [
        text(
            "%(time)s, %(who)s: %(what)s",
            shown_time(event["at"]),
            _who(event),
            " → ".join(dict.fromkeys((word(event["kind"]), word(event["to_state"])))),
        )
        for event in events[known:]
    ]


def _act_page(database: Database, kind: ActKind, order: Order, events: Sequence[Row], settings: Settings) -> ActPage:
    fields = _fields(kind, order)
    values = {one.name: one.value for one in fields}
    title, means = _named(kind, order.state)
    return ActPage(
        title=title,
        meaning=means,
        about=about_order(order),
        fields=fields,
        needs_reason=kind in _NEED_A_REASON,
        reason_label=text("Note") if kind is ActKind.NOTE else "",
        # A note can be added even if the order has changed.
        seen=None if kind is ActKind.NOTE else _seen(order, events),
        kept={"known": str(events[-1]["id"]) if events else ""},
        warnings=_warnings(kind, order, values),
        refused=detail_word(_refusal(kind, order, settings)),
        changes=_changes(events),
        # The address keeps the list from which the order was opened, so that the order's page can link to the next
        # order in the list.
        back=url_for("console.order", order_id=order.id, list=request.args.get("list")).lstrip("/"),
        is_asked_twice=kind is ActKind.RESOLVE,
        do=lambda who: _do(database, who, kind, order, len(events), values),
    )


def _refusal(kind: ActKind, order: Order, settings: Settings) -> CodedText | None:
    """Why the act makes no sense; None if it makes sense. The transaction that does the act decides again."""
    why = acts.refusal(kind, order)
    if why is not None and why.code in (TextCode.IS_FINAL, TextCode.IS_NOT_PENDING):
        # A colleague may already have done the same act. So do not show the usual reason, which advises how to undo it.
        return CodedText(TextCode.IS_SO, **why.values)
    return why or (acts.account_refusal(order.account, settings.accounts) if kind in NEED_A_WORKER else None)


def about_order(order: Order) -> list[tuple[str, str | None]]:
    """The present state of an order."""
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
        return _result_fields(order)
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


def _result_fields(order: Order) -> list[Field]:
    state, amount, expected = typed("state"), typed("amount"), order.expected_amount
    is_sent = request.method == "POST"
    if not is_sent and expected is not None:
        amount = amount_text(expected)
    no_state = is_sent and state not in _FINAL
    no_amount = is_sent and read_written_amount(amount) is None and (bool(amount) or state == OrderState.SUCCEEDED)
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
            hint=text("What the platform charged; empty where a failed recharge was not charged."),
            fault=text("Write an amount such as 2.94.") if no_amount else "",
        ),
    ]


def _warnings(kind: ActKind, order: Order, values: Mapping[str, str]) -> list[str]:
    """Warnings that a result would be lost, or that a typed result is doubtful."""
    if _clears_result(kind, order.state):
        return [text("This is lost: %(result)s", detail_word(acts.result_of(order)))]
    if kind is not ActKind.RESOLVE:
        return []
    warnings = []
    amount, expected = read_written_amount(values["amount"]), order.expected_amount
    if values["state"] == OrderState.FAILED and amount:
        warnings.append(text("A failed order with a charge: has the platform really kept the money?"))
    if amount is not None and expected is not None and amount != expected:
        yuan = amount_text(amount), amount_text(expected)
        warnings.append(text("￥%(amount)s is not the expected amount of ￥%(expected)s.", *yuan))
    if order.lease_token is not None:
        warnings.append(text("A query is under way for it; what it brings will settle nothing any more."))
    return warnings


def do_to_orders(
    database: Database, who: Operator, kind: ActKind, order_ids: Sequence[int], decide: Decide
) -> Mapping[int, CodedText]:
    """Do the act to these orders. Return the reason of each refusal, by order id. `decide` decides what becomes of each
    order; it is not used for a resend, which changes no order."""
    if kind is ActKind.RESEND:
        refused = [one.refusals for one in resend(database, who, order_ids)]
    else:
        refused = [one.refusals for one in act_on_orders(database, who, kind, order_ids, decide)]
    return {order_id: why for some in refused for order_id, why in some.items()}


def _do(database: Database, who: Operator, kind: ActKind, order: Order, heard: int, values: Mapping[str, str]) -> Done:
    # Compare the state again, under the lock of the order: a callback may be committed after the first comparison. A
    # note is not compared, because it can always be added.
    if kind is not ActKind.NOTE:
        shown = Shown(orders={order.id: (order.state, order.attention)}, event_counts={order.id: heard})
        who = replace(who, shown=shown)

    def decide(found: Order, act: Act) -> acts.Decided:
        return acts.unless_changed(found, act, seen=order, decide=_decision(kind, values))

    refused = [detail_word(why) for why in do_to_orders(database, who, kind, [order.id], decide).values()]
    return (text("Nothing was done."), refused) if refused else text("Done: %(act)s.", _named(kind, order.state)[0])


def _decision(kind: ActKind, values: Mapping[str, str]) -> Decide:
    if kind is ActKind.RESOLVE:
        return partial(acts.resolve, state=OrderState(values["state"]), amount=read_written_amount(values["amount"]))
    if kind is ActKind.REOPEN:
        return partial(acts.reopen, force=values.get("force") == "yes")
    others = (acts.cancel, acts.dismiss, acts.check, acts.note)
    return dict(zip((ActKind.CANCEL, ActKind.DISMISS, ActKind.CHECK, ActKind.NOTE), others, strict=True))[kind]
