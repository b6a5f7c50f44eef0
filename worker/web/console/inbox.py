"""What came in and could not be placed: refused input, and callbacks of unknown orders."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Blueprint, abort, render_template

from worker.adapters.shown_values import indented_json
from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.acts import ActKind
from worker.intake import Intake
from worker.operations.act_by_hand import Operator
from worker.settings import Settings
from worker.settings.rules import app_ids_of, rules_of
from worker.views.inbox import LONG_ROWS_AT_ONCE, recent_rejected, recent_unmatched, rejected_by_id
from worker.web.console.acts import ActPage, Done, add_act
from worker.web.console.lists import List, add_list, storable
from worker.web.console.translations import faults_in_words, meaning, shown_time, text, word

_LONGEST_SHOWN = 2_000


_LISTS = (
    List(
        name="rejected",
        columns=csv_columns.REJECTED,
        narrow=lambda filters: partial(recent_rejected, since=filters.since(), holding=filters.number()),
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
    """`/rejected`, `/rejected/N`, `/rejected/N/retry` and `/unmatched`."""
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

    add_act(routes, "/rejected/<int:rejected_id>/retry", "retry_rejected_input", retry)


def _retry_page(settings: Settings, database: Database, row: Mapping[str, Any]) -> ActPage:
    def do(who: Operator) -> Done:
        intake = Intake(database, rules_of(settings), app_ids_of(settings))
        answer: Any = intake.retry_rejected(row["id"], actor=who.name)
        # Where all of it was taken in, its own page is gone.
        return text("Taken in: %(count)s.", count=answer["done"]), faults_in_words("\n".join(answer["errors"]))

    return ActPage(
        title=word(ActKind.RETRY),
        meaning=meaning(ActKind.RETRY),
        about=[
            (text("Row"), str(row["id"])),
            (text("Received at"), shown_time(row["received_at"])),
            (text("Came by"), row["source"]),
            (text("Faults"), "\n".join(faults_in_words(row["errors"]))),
            (text("Input"), row["payload"][:_LONGEST_SHOWN]),
        ],
        needs_reason=None,
        back="rejected",
        button=text("Retry"),
        do=do,
    )
