"""What came in and could not be placed: refused input, and callbacks of unknown orders."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Blueprint, abort, render_template

from worker.adapters.shown_values import indented_json
from worker.database.transactions import Database
from worker.domain.finance.report import Period
from worker.domain.records import csv_columns
from worker.domain.records.acts import ActKind
from worker.intake import Intake
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_kept_input import dismiss_rejected
from worker.settings import Settings
from worker.settings.rules import app_ids_of, rules_of
from worker.views.inbox import LONG_ROWS_AT_ONCE, open_rejected_ids, recent_rejected, recent_unmatched, rejected_by_id
from worker.web.console.acts import ActPage, Done, add_act
from worker.web.console.lists import List, add_list, storable
from worker.web.console.translations import in_words, meaning, shown_time, text, word

_LONGEST_SHOWN = 2_000


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
    """`/rejected`, `/rejected/N` with its acts, and `/unmatched`."""
    for described in _LISTS:
        add_list(routes, settings, database, described)

    def row_of(rejected_id: int) -> Mapping[str, Any]:
        with database.read() as connection:
            row = rejected_by_id(connection, storable(rejected_id))
        return row or abort(404)

    @routes.get("/rejected/<int:rejected_id>")
    def rejected_input(rejected_id: int) -> str:
        row = row_of(rejected_id)
        return render_template("console/rejected_input.html", row=row, payload=indented_json(row["payload"]))

    def retry(rejected_id: int) -> ActPage:
        return _retry_page(settings, database, row_of(rejected_id))

    def dismiss(rejected_id: int, which: str) -> ActPage:
        return _dismiss_page(settings, database, row_of(rejected_id), is_all=which == "dismiss_all")

    add_act(routes, "/rejected/<int:rejected_id>/retry", "retry_rejected_input", retry)
    rule = "/rejected/<int:rejected_id>/<any(dismiss, dismiss_all):which>"
    add_act(routes, rule, "dismiss_rejected_input", dismiss)


def _retry_page(settings: Settings, database: Database, row: Mapping[str, Any]) -> ActPage:
    def do(who: Operator) -> Done:
        intake = Intake(database, rules_of(settings), app_ids_of(settings))
        answer: Any = intake.retry_rejected(row["id"], actor=who.name)
        # Where all of it was taken in, its own page is gone.
        return text("Taken in: %(count)s.", answer["done"]), [in_words(one) for one in answer["errors"]]

    return ActPage(
        title=word(ActKind.RETRY),
        meaning=meaning(ActKind.RETRY),
        about=_about(row),
        needs_reason=None,
        back="rejected",
        button=text("Retry"),
        do=do,
    )


def _dismiss_page(settings: Settings, database: Database, row: Mapping[str, Any], *, is_all: bool) -> ActPage:
    """Dismisses one row, or all open ones that came by its source on its day."""
    ids, about, which = [row["id"]] if row["is_open"] else [], _about(row), str(row["id"])
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


def _about(row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [
        (text("Row"), str(row["id"])),
        (text("Received at"), shown_time(row["received_at"])),
        (text("Came by"), row["source"]),
        (text("Faults"), in_words(row["errors"])),
        (text("Input"), row["payload"][:_LONGEST_SHOWN]),
    ]
