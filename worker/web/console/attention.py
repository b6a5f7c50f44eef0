"""All that needs a person, by reason, with what each means and what to do about it."""

from flask import Blueprint, Response, render_template

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.orders import OrderState
from worker.domain.workers import tick_allowance
from worker.runtime import rules_of
from worker.settings import Settings
from worker.views.todo import read_todo, todo_rows
from worker.web.console.guidance import GUIDANCE
from worker.web.console.listing import csv_file, wants_csv

_SHOWN = 10
# Of each reason; the page is to be there within a tenth of a second.
_COUNTED = 1_000
_MOST_IN_FILE = 10_000


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/attention`."""
    rules, accounts = rules_of(settings), list(settings.accounts)
    allowance = tick_allowance(settings.check_tick_seconds, settings.tick_seconds)

    @routes.get("/attention")
    def attention() -> str | Response:
        if wants_csv():
            groups, _ = read_todo(database, rules, accounts, allowance, _MOST_IN_FILE)
            return csv_file("attention", csv_columns.TODO, todo_rows(groups), settings.zone)
        groups, now = read_todo(database, rules, accounts, allowance, _SHOWN, most_counted=_COUNTED)
        return render_template("console/attention.html", groups=groups, now=now, guidance=GUIDANCE, state_of=OrderState)
