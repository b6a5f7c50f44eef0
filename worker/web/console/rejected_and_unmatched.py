"""The pages of refused input and of callbacks of unknown orders, with the acts on them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Blueprint, abort, render_template, request

from worker.adapters.shown_values import indented_json
from worker.database.transactions import Database
from worker.domain.finance.report import Period
from worker.domain.orders.operator_acts import Decided
from worker.domain.records import csv_columns
from worker.domain.records.coded_texts import CodedText
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import Change
from worker.domain.wire.fields import id_fault, names_a_row, typed_number
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_rejected_and_unmatched import dismiss_kept_callback, dismiss_rejected
from worker.process.intake import Intake
from worker.settings import Settings
from worker.settings.rules import app_ids_of, rules_of
from worker.views.order import orders_named
from worker.views.rejected_and_unmatched import (
    LONG_ROWS_AT_ONCE,
    open_rejected_ids,
    recent_rejected,
    recent_unmatched,
    rejected_by_id,
    unmatched_by_id,
)
from worker.web.console.acts import ActPage, Done, Field, add_act, typed
from worker.web.console.lists import List, add_list, storable
from worker.web.console.order_acts import about_order
from worker.web.console.translations import detail_word, in_words, meaning, shown_time, text, word

_LONGEST_SHOWN = 2_000
_LONGEST_ROW_ID = 20

_LISTS = (
    List(
        name="rejected",
        columns=csv_columns.REJECTED,
        narrow=lambda filters: partial(
            recent_rejected, since=filters.since(), holding=filters.number(), only_open=filters.word("open") == "yes"
        ),
        rows_at_once=LONG_ROWS_AT_ONCE,
    ),
    List(
        name="unmatched",
        columns=csv_columns.UNMATCHED,
        narrow=lambda filters: partial(recent_unmatched, accounts=filters.chosen_accounts(), before=filters.until()),
        rows_at_once=LONG_ROWS_AT_ONCE,
    ),
)


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """Add the lists `/rejected` and `/unmatched`, the pages `/rejected/N` and `/unmatched/N`, and the acts on one
    row."""
    for described in _LISTS:
        add_list(routes, settings, database, described)

    def row_of(by_id: Callable[..., Mapping[str, Any] | None], row_id: int) -> Mapping[str, Any]:
        with database.read() as connection:
            row = by_id(connection, storable(row_id))
        return row or abort(404)

    rejected_row, callback_row = partial(row_of, rejected_by_id), partial(row_of, unmatched_by_id)

    @routes.get("/rejected/<int:rejected_id>")
    def rejected_input(rejected_id: int) -> str:
        row = rejected_row(rejected_id)
        return render_template("console/rejected_input.html", row=row, payload=indented_json(row["payload"]))

    def retry(rejected_id: int) -> ActPage:
        return _retry_page(settings, database, rejected_row(rejected_id))

    def dismiss_rejected_input(rejected_id: int, which: str) -> ActPage:
        return _dismiss_rejected_page(settings, database, rejected_row(rejected_id), is_all=which == "dismiss_all")

    add_act(routes, "/rejected/<int:rejected_id>/retry", "retry_rejected_input", retry)
    rule = "/rejected/<int:rejected_id>/<any(dismiss, dismiss_all):which>"
    add_act(routes, rule, "dismiss_rejected_input", dismiss_rejected_input)

    @routes.get("/unmatched/<int:callback_id>")
    def unmatched_callback(callback_id: int) -> str:
        row = callback_row(callback_id)
        return render_template("console/unmatched_callback.html", row=row, payload=indented_json(row["payload"]))

    def link(callback_id: int) -> ActPage:
        return _link_page(settings, database, callback_row(callback_id))

    def dismiss_callback(callback_id: int) -> ActPage:
        return _dismiss_callback_page(database, callback_row(callback_id))

    add_act(routes, "/unmatched/<int:callback_id>/link", "link_callback", link)
    add_act(routes, "/unmatched/<int:callback_id>/dismiss", "dismiss_callback", dismiss_callback)


def _retry_page(settings: Settings, database: Database, row: Mapping[str, Any]) -> ActPage:
    def do(who: Operator) -> Done:
        intake = Intake(database, rules_of(settings), app_ids_of(settings))
        answer: Any = intake.retry_rejected(row["id"], actor=who.name)
        # The page of this input is not shown next: it is gone if all of the input was taken in.
        return text("Taken in: %(count)s.", answer["done"]), [in_words(one) for one in answer["errors"]]

    return ActPage(
        title=word(ActKind.RETRY),
        meaning=meaning(ActKind.RETRY),
        about=_about_rejected(row),
        needs_reason=None,
        back="rejected",
        button=text("Retry"),
        do=do,
    )


def _dismiss_rejected_page(settings: Settings, database: Database, row: Mapping[str, Any], *, is_all: bool) -> ActPage:
    """The page to dismiss one row of refused input; with `is_all`, all open rows that came from the same source on the
    same day as this row."""
    ids, about, which = [row["id"]] if row["is_open"] else [], _about_rejected(row), str(row["id"])
    if is_all:
        day = row["received_at"].astimezone(settings.zone).date()
        which = f"{row['source']}, {day}"
        with database.read() as connection:
            ids = [*open_rejected_ids(connection, [row["source"]], Period(first=day, last=day, zone=settings.zone))]
        about = [(text("Came by"), row["source"]), (text("Day"), f"{day}"), (text("Open rows"), f"{len(ids):,}")]

    def do(who: Operator) -> Done:
        return text("Dismissed: %(count)s.", dismiss_rejected(database, who, ids, which))

    return ActPage(
        title=word(ActKind.DISMISS_REJECTED),
        meaning=meaning(ActKind.DISMISS_REJECTED),
        about=about,
        seen=(about, ids),
        refused="" if ids else text("It was dealt with already."),
        back="rejected",
        do=do,
    )


def _about_rejected(row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [
        (text("Row"), str(row["id"])),
        (text("Received at"), shown_time(row["received_at"])),
        (text("Came by"), row["source"]),
        (text("Faults"), in_words(row["errors"])),
        (text("Input"), row["payload"][:_LONGEST_SHOWN]),
    ]


def _dismiss_callback_page(database: Database, row: Mapping[str, Any]) -> ActPage:
    kind = ActKind.DISMISS_CALLBACK
    return ActPage(
        title=word(kind),
        meaning=meaning(kind),
        about=_about_callback(row),
        needs_reason=True,
        back="unmatched",
        do=lambda who: _said(kind, dismiss_kept_callback(database, who, row["id"])),
    )


def _link_page(settings: Settings, database: Database, row: Mapping[str, Any]) -> ActPage:
    """The page to link a callback to an order. The page asks for the order. Then it shows how the callback would change
    this order, which is found out by a trial that is not saved."""
    intake = Intake(database, rules_of(settings), app_ids_of(settings))
    number = typed_number(typed("order"))
    order_id, trial = _order_id(database, row["account"], number), Operator(name="", dry_run=True)
    tried = intake.link_callback(trial, row["id"], order_id) if request.method == "POST" else None
    about = _about_callback(row)
    seen: tuple[object, ...] = ()
    if isinstance(tried, Change):
        before, after = about_order(tried.before), about_order(tried.after)
        pairs = [(name, old, new) for (_, old), (name, new) in zip(before, after, strict=True)]
        # The new state of the order is not compared, because it has the time of the act, which differs each time.
        seen = (_about_callback(row), before)
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
    """The row id that a number such as id:7 names; for another number, the row id of the only order of the account that
    has it. 0 if no order has the number, or several have it."""
    if names_a_row(number):
        return storable(int(number.removeprefix("id:")[:_LONGEST_ROW_ID]))
    with database.read() as connection:
        named = [] if id_fault(number) else orders_named(connection, account, [number])
    return int(named[0]["id"]) if len(named) == 1 else 0


def _said(kind: ActKind, done: Decided | None) -> Done:
    if isinstance(done, CodedText):
        return text("Nothing was done."), [detail_word(done)]
    return text("Done: %(act)s.", word(kind))


def _about_callback(row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [
        (text("Callback received at"), shown_time(row["received_at"])),
        (text("Account of the callback"), row["account"]),
        (text("Effect"), word(row["trust"])),
        (text("Callback"), row["payload"][:_LONGEST_SHOWN]),
    ]
