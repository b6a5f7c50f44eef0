"""What came in and could not be placed: refused input, and callbacks of unknown orders."""

from flask import Blueprint, Response, abort, render_template

from worker.adapters.shown_values import indented_json
from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.settings import Settings
from worker.views.inbox import LONG_ROWS_AT_ONCE, Row, recent_rejected, recent_unmatched, rejected_by_id
from worker.views.page import Page
from worker.web.console.filters import Filters, known_accounts, storable
from worker.web.console.listing import show_list


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/rejected`, `/rejected/N` and `/unmatched`."""

    @routes.get("/rejected")
    def rejected() -> str | Response:
        filters = Filters(zone=settings.zone)
        since, after = filters.since(), filters.after()

        def load(after: int | None, most: int, seconds: float) -> Page[Row]:
            with database.snapshot() as connection:
                return recent_rejected(connection, since=since, after=after, most=most, seconds=seconds)

        return show_list("rejected", csv_columns.REJECTED, load, after, filters, rows_at_once=LONG_ROWS_AT_ONCE)

    @routes.get("/rejected/<int:rejected_id>")
    def rejected_input(rejected_id: int) -> str:
        with database.read() as connection:
            row = rejected_by_id(connection, storable(rejected_id))
        if row is None:
            abort(404)
        return render_template("console/rejected_input.html", row=row, payload=indented_json(row["payload"]))

    @routes.get("/unmatched")
    def unmatched() -> str | Response:
        filters = Filters(zone=settings.zone)
        account, before, after = filters.account(), filters.until(), filters.after()

        def load(after: int | None, most: int, seconds: float) -> Page[Row]:
            with database.snapshot() as connection:
                return recent_unmatched(
                    connection,
                    accounts=[account] if account else (),
                    before=before,
                    after=after,
                    most=most,
                    seconds=seconds,
                )

        accounts = known_accounts(list(settings.accounts), account)
        return show_list(
            "unmatched", csv_columns.UNMATCHED, load, after, filters, rows_at_once=LONG_ROWS_AT_ONCE, accounts=accounts
        )
