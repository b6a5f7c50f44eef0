"""Where results are sent, and the notifications of them."""

from flask import Blueprint, Response, render_template

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.notifications import NotificationState
from worker.settings import Settings
from worker.views.notifications import Row, recent_notifications, watched_endpoints
from worker.views.page import Page
from worker.web.console.filters import Filters, known_accounts
from worker.web.console.listing import ROWS, SEARCH_SECONDS, csv_answer, wants_csv


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/notifications`."""

    @routes.get("/notifications")
    def notifications() -> str | Response:
        filters = Filters(zone=settings.zone)
        account, state, after = filters.account(), filters.choice("state", NotificationState), filters.after()

        def load(after: int | None, most: int, seconds: float) -> Page[Row]:
            with database.snapshot() as connection:
                return recent_notifications(
                    connection, account=account, state=state, after=after, most=most, seconds=seconds
                )

        if wants_csv():
            return csv_answer("notifications", csv_columns.NOTIFICATIONS, load, after, settings.zone)
        with database.snapshot() as connection:
            now = database.now(connection)
            views = watched_endpoints(connection, now)
        return render_template(
            "console/notifications.html",
            part=load(after, ROWS, SEARCH_SECONDS),
            endpoints=views,
            now=now,
            faults=filters.faults,
            states=list(NotificationState),
            accounts=known_accounts([*settings.accounts, *(view.account for view in views)], account),
        )
