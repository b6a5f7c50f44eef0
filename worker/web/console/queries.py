"""What was asked of the platform, and what came of it: the list of queries, and one query with its orders."""

from flask import Blueprint, Response, abort, render_template

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.queries import OUTCOMES
from worker.settings import Settings
from worker.views.page import Page
from worker.views.queries import Row, read_query, recent_queries
from worker.web.console.filters import Filters, known_accounts, storable
from worker.web.console.listing import csv_file, show_list, wants_csv


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/queries` and `/queries/N`."""

    @routes.get("/queries")
    def queries() -> str | Response:
        filters = Filters(zone=settings.zone)
        account, outcome = filters.account(), filters.one_of("outcome", OUTCOMES)
        since, after = filters.since(), filters.after()

        def load(after: int | None, most: int, seconds: float) -> Page[Row]:
            with database.snapshot() as connection:
                return recent_queries(
                    connection,
                    account=account,
                    outcomes=[outcome] if outcome else (),
                    since=since,
                    after=after,
                    most=most,
                    seconds=seconds,
                )

        accounts = known_accounts(list(settings.accounts), account)
        return show_list("queries", csv_columns.QUERIES, load, after, filters, outcomes=OUTCOMES, accounts=accounts)

    @routes.get("/queries/<int:query_id>")
    def query(query_id: int) -> str | Response:
        with database.snapshot() as connection:
            found = read_query(connection, storable(query_id))
        if found is None:
            abort(404)
        if wants_csv():
            return csv_file(f"query-{query_id}", csv_columns.POLLED_ORDERS, found.orders, settings.zone)
        return render_template("console/query.html", query=found.query, orders=found.orders, added=found.added)
