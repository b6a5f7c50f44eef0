"""What operators did by hand, and why."""

from flask import Blueprint, Response

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.settings import Settings
from worker.views.acts import Row, recent_acts
from worker.views.page import Page
from worker.web.console.filters import Filters, known_accounts
from worker.web.console.listing import show_list


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/acts`."""

    @routes.get("/acts")
    def acts() -> str | Response:
        filters = Filters(zone=settings.zone)
        account, after = filters.account(), filters.after()

        def load(after: int | None, most: int, _seconds: float) -> Page[Row]:
            with database.read() as connection:
                return recent_acts(connection, [account] if account else (), after=after, most=most)

        accounts = known_accounts(list(settings.accounts), account)
        return show_list("acts", csv_columns.ACTS, load, after, filters, accounts=accounts)
