"""What was asked of the platform, and what came of it: the list of queries, and one query with its orders."""

from functools import partial

from flask import Blueprint, Response, abort, render_template

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.queries import OUTCOMES
from worker.settings import Settings
from worker.views.queries import read_query, recent_queries
from worker.web.console.files import ListFile, wanted_format, whole_file
from worker.web.console.lists import List, add_list, storable

_LIST = List(
    name="queries",
    columns=csv_columns.QUERIES,
    narrow=lambda filters: partial(
        recent_queries,
        account=filters.account(),
        outcomes=filters.one_of("outcome", OUTCOMES),
        since=filters.since(),
    ),
    shown=lambda _: {"outcomes": OUTCOMES},
)


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/queries` and `/queries/N`."""

    add_list(routes, settings, database, _LIST)

    @routes.get("/queries/<int:query_id>")
    def query(query_id: int) -> str | Response:
        with database.snapshot() as connection:
            found = read_query(connection, storable(query_id))
        if found is None:
            abort(404)
        if wanted_format():
            described = ListFile(name=f"query-{query_id}", columns=csv_columns.POLLED_ORDERS)
            return whole_file(described, found.orders, settings.zone)
        return render_template("console/query.html", query=found.query, orders=found.orders, added=found.added)
