"""The pages of the endpoints that receive results, and of the notifications, with the acts on them."""

from collections.abc import Mapping
from functools import partial

from flask import Blueprint, abort, url_for

from worker.database.transactions import Database
from worker.domain.records import csv_columns
from worker.domain.records.notifications import Endpoint, NotificationState
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import Operator
from worker.operations.change_endpoints import forget_endpoint, pause_notifications, resume_notifications
from worker.settings import Settings
from worker.views.notifications import recent_notifications, watched_endpoints
from worker.web.console.acts import ActPage, add_act, addressed
from worker.web.console.lists import Filters, List, Read, add_list
from worker.web.console.translations import meaning, text, word
from worker.words import N_

# For each act, its kind, and the message that is shown when it is done.
_ACTS = {
    "pause": (ActKind.PAUSE_NOTIFICATIONS, N_("Done: %(account)s is sent nothing until somebody resumes it.")),
    "resume": (ActKind.RESUME_NOTIFICATIONS, N_("Done: %(account)s is notified again.")),
    "forget": (
        ActKind.FORGET_NOTIFICATIONS,
        N_("Done: %(account)s has no endpoint any more; %(count)s notifications went with it."),
    ),
}


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """Add `/notifications` and `/notifications/endpoints/ACT`."""

    def endpoints(filters: Filters) -> Mapping[str, object]:
        with database.snapshot() as connection:
            views = watched_endpoints(connection, database.now(connection))
        filters.accounts = {*filters.accounts, *(view.account for view in views)}
        return {"endpoints": views, "states": list(NotificationState)}

    described = List(name="notifications", columns=csv_columns.NOTIFICATIONS, narrow=_narrow, shown=endpoints)
    add_list(routes, settings, database, described)

    @routes.app_template_global("endpoint_acts")
    def endpoint_acts(account: str, endpoint: Endpoint | None) -> list[tuple[str, str]]:
        """Paths and titles of the acts that make sense for an account's notifications."""
        acts = [
            (url_for("console.act_on_endpoint", act=act, account=account), word(kind))
            for act, (kind, _) in _ACTS.items()
            if _makes_sense(act, endpoint)
        ]
        resend = url_for(
            "console.act_on_orders", act="resend", scope="given-up", account=account, next="/notifications"
        )
        return [*acts, (resend, text("Resend what was given up"))]

    add_act(
        routes,
        "/notifications/endpoints/<any(pause, resume, forget):act>",
        "act_on_endpoint",
        partial(_endpoint_page, database),
    )


def _narrow(filters: Filters) -> Read:
    account, states = filters.account(), filters.one_of("state", NotificationState)
    return partial(recent_notifications, account=account, state=states[0] if states else None)


def _makes_sense(act: str, endpoint: Endpoint | None) -> bool:
    if endpoint is None or act == "forget":
        # An endpoint that was removed may have left notifications, which `forget` removes.
        return act == "forget"
    if act == "pause":
        return endpoint.paused_at is None
    return any(time is not None for time in (endpoint.paused_at, endpoint.stopped_at, endpoint.failing_since))


def _endpoint_page(database: Database, act: str) -> ActPage:
    account = addressed("account")
    with database.read() as connection:
        views = watched_endpoints(connection, database.now(connection))
    view = next((view for view in views if view.account == account), None)
    if view is None or (view.endpoint is None and not (act == "forget" and view.count.pending + view.count.gave_up)):
        abort(404)
    endpoint, waiting, gave_up = view.endpoint, view.count.pending, view.count.gave_up
    kind, _ = _ACTS[act]
    about = [(text("Account"), account), (text("Endpoint"), endpoint.shown if endpoint else None)]
    if act == "forget":
        # These counts are shown only for `forget`, which depends on them. They change all the time. On the page of
        # another act, each change would make the form out of date for no reason.
        about += [
            (text("Notifications that wait"), f"{waiting:,}"),
            (text("Notifications that were given up"), f"{gave_up:,}"),
        ]
    never_sent = text("%(count)s notifications will never be sent.", waiting + gave_up)
    return ActPage(
        title=word(kind),
        meaning=meaning(kind),
        about=about,
        seen=(about, (endpoint.paused_at, endpoint.stopped_at) if endpoint else None),
        warnings=[never_sent] if act == "forget" and waiting + gave_up else [],
        back="notifications",
        do=lambda who: _act(database, who, act, account),
    )


def _act(database: Database, who: Operator, act: str, account: str) -> str:
    if act == "forget":
        return text(_ACTS[act][1], account, forget_endpoint(database, who, account)[1])
    (pause_notifications if act == "pause" else resume_notifications)(database, who, account)
    return text(_ACTS[act][1], account)
