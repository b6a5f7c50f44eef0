"""One unmatched callback, and what a person does with it: link it to an order, or dismiss it."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, render_template, request

from worker.adapters.shown_values import indented_json
from worker.database.transactions import Database
from worker.domain.orders.operator_acts import Decided
from worker.domain.records.acts import ActKind
from worker.domain.records.coded_texts import CodedText
from worker.domain.records.order_changes import Change
from worker.domain.wire.fields import id_fault, names_a_row, typed_number
from worker.intake import Intake
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_kept_input import dismiss_kept_callback
from worker.settings import Settings
from worker.settings.rules import app_ids_of, rules_of
from worker.views.inbox import unmatched_by_id
from worker.views.order import orders_named
from worker.web.console.acts import ActPage, Done, Field, add_act, typed
from worker.web.console.lists import storable
from worker.web.console.order_acts import about_order
from worker.web.console.translations import detail_word, meaning, shown_time, text, word

_LONGEST_SHOWN = 2_000
_LONGEST_ROW_ID = 20


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/unmatched/N`, `/unmatched/N/link` and `/unmatched/N/dismiss`."""

    def row_of(callback_id: int) -> Mapping[str, Any]:
        with database.read() as connection:
            row = unmatched_by_id(connection, storable(callback_id))
        return row or abort(404)

    @routes.get("/unmatched/<int:callback_id>")
    def unmatched_callback(callback_id: int) -> str:
        row = row_of(callback_id)
        return render_template("console/unmatched_callback.html", row=row, payload=indented_json(row["payload"]))

    def link(callback_id: int) -> ActPage:
        return _link_page(settings, database, row_of(callback_id))

    def dismiss(callback_id: int) -> ActPage:
        return _dismiss_page(database, row_of(callback_id))

    add_act(routes, "/unmatched/<int:callback_id>/link", "link_callback", link)
    add_act(routes, "/unmatched/<int:callback_id>/dismiss", "dismiss_callback", dismiss)


def _dismiss_page(database: Database, row: Mapping[str, Any]) -> ActPage:
    kind = ActKind.DISMISS_CALLBACK
    return ActPage(
        title=word(kind),
        meaning=meaning(kind),
        about=_about(row),
        needs_reason=True,
        back="unmatched",
        do=lambda who: _said(kind, dismiss_kept_callback(database, who, row["id"])),
    )


def _link_page(settings: Settings, database: Database, row: Mapping[str, Any]) -> ActPage:
    """Asks for the order; then shows what the callback changes of it: decided as it will be, but not saved."""
    intake = Intake(database, rules_of(settings), app_ids_of(settings))
    number = typed_number(typed("order"))
    order_id, trial = _order_id(database, row["account"], number), Operator(name="", dry_run=True)
    tried = intake.link_callback(trial, row["id"], order_id) if request.method == "POST" else None
    about = _about(row)
    seen: tuple[object, ...] = ()
    if isinstance(tried, Change):
        before, after = about_order(tried.before), about_order(tried.after)
        pairs = [(name, old, new) for (_, old), (name, new) in zip(before, after, strict=True)]
        # Without what it becomes: that has the time of the act.
        seen = (_about(row), before)
        about += [(name, new if old == new else f"{old or '—'} → {new or '—'}") for name, old, new in pairs]
    field = Field(
        name="order",
        label=text("Number of the order"),
        value=number,
        hint=text("Its platform number, own number or row, such as id:7; in the account of the callback."),
        fault=detail_word(tried) if isinstance(tried, CodedText) else "",
        is_required=True,
    )
    return ActPage(
        title=word(ActKind.LINK),
        meaning=meaning(ActKind.LINK),
        about=about,
        fields=[field],
        seen=seen,
        back=f"orders/{order_id}" if seen else f"unmatched/{row['id']}",
        is_asked_twice=True,
        do=lambda who: _said(ActKind.LINK, intake.link_callback(who, row["id"], order_id)),
    )


def _order_id(database: Database, account: str, number: str) -> int:
    """The row of the one order that has this number in an account, or is named by it; 0 where there is none, or two."""
    if names_a_row(number):
        return storable(int(number.removeprefix("id:")[:_LONGEST_ROW_ID]))
    with database.read() as connection:
        named = [] if id_fault(number) else orders_named(connection, account, [number])
    return int(named[0]["id"]) if len(named) == 1 else 0


def _said(kind: ActKind, done: Decided | None) -> Done:
    if isinstance(done, CodedText):
        return text("Nothing was done."), [detail_word(done)]
    return text("Done: %(act)s.", word(kind))


def _about(row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [
        (text("Callback received at"), shown_time(row["received_at"])),
        (text("Account of the callback"), row["account"]),
        (text("Effect"), word(row["trust"])),
        (text("Callback"), row["payload"][:_LONGEST_SHOWN]),
    ]
