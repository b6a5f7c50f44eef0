"""What a person does to notifications and refused input: endpoints, what was given up, input that was refused."""

from typing import Any

from flask import Blueprint, Response, abort, url_for

from worker.database.transactions import Database
from worker.domain.records.notifications import Endpoint
from worker.intake import Intake
from worker.operations.act_on_endpoints import forget_endpoint, pause_notifications, resume_notifications
from worker.operations.resend import resend
from worker.runtime import app_ids_of, rules_of
from worker.settings import Settings
from worker.views.inbox import rejected_by_id
from worker.views.notifications import orders_given_up, watched_endpoints
from worker.web.console import acting
from worker.web.console.acting import ActPage
from worker.web.console.filters import storable
from worker.web.console.formats import time_in_zone
from worker.web.console.languages import N_, text

_ACTS = {
    "pause": (
        N_("Pause notifications"),
        N_("Sends the account nothing until somebody resumes it. What happens meanwhile waits."),
        N_("Done: %(account)s is sent nothing until somebody resumes it."),
    ),
    "resume": (
        N_("Resume notifications"),
        N_("Sends to the account again at once: after a pause, out of a rest, or after its receiver answered 410."),
        N_("Done: %(account)s is notified again."),
    ),
    "forget": (
        N_("Forget the endpoint"),
        N_(
            "Removes the endpoint, and all notifications that nobody has received: they will never be sent. Remove it"
            " from the settings of the workers first, or their next start enters it again."
        ),
        N_("Done: %(account)s has no endpoint any more; %(count)s notifications went with it."),
    ),
}
_LONGEST_SHOWN = 2_000


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/notifications/endpoints/ACT`, `/notifications/resend-given-up` and `/rejected/ID/retry`."""

    @routes.app_template_global("endpoint_acts")
    def endpoint_acts(account: str, endpoint: Endpoint | None) -> list[tuple[str, str]]:
        """Paths and titles of what makes sense for an account's notifications."""
        acts = [
            (url_for("console.act_on_endpoint", act=act, account=account), text(_ACTS[act][0]))
            for act in _ACTS
            if _makes_sense(act, endpoint)
        ]
        return [*acts, (url_for("console.resend_given_up", account=account), text("Resend what was given up"))]

    @routes.route("/notifications/endpoints/<any(pause, resume, forget):act>", methods=["GET", "POST"])
    def act_on_endpoint(act: str) -> Response:
        acting.operator()
        account = acting.addressed("account")
        page = _endpoint_page(database, act, account)
        if not acting.is_confirmed() or page.has_faults or page.refused:
            return acting.show(page)
        return _act(database, act, account, page)

    @routes.route("/notifications/resend-given-up", methods=["GET", "POST"])
    def resend_given_up() -> Response:
        acting.operator()
        account = acting.addressed("account")
        with database.read() as connection:
            found = orders_given_up(connection, account or None)
        page = _resend_page(account, len(found))
        if not acting.is_confirmed() or page.has_faults or page.refused:
            return acting.show(page)
        return _resend(database, found[: acting.MOST_AT_ONCE], page)

    @routes.route("/rejected/<int:rejected_id>/retry", methods=["GET", "POST"])
    def retry_rejected_input(rejected_id: int) -> Response:
        who = acting.operator()
        page = _retry_page(database, storable(rejected_id))
        if not acting.is_confirmed():
            return acting.show(page)
        intake = Intake(database, rules_of(settings), app_ids_of(settings))
        answer: Any = intake.retry_rejected(rejected_id, actor=who.name)
        said = text("Taken in: %(count)s.", count=f"{answer['done']:,}")
        # Where all of it was taken in, its own page is gone.
        return acting.finish(page.back, said, [str(one) for one in answer["errors"]])


def _makes_sense(act: str, endpoint: Endpoint | None) -> bool:
    if endpoint is None or act == "forget":
        # Notifications may be left of one that was removed.
        return act == "forget"
    if act == "pause":
        return endpoint.paused_at is None
    return any(time is not None for time in (endpoint.paused_at, endpoint.stopped_at, endpoint.failing_since))


def _notifications() -> str:
    return f"{url_for('console.overview')}notifications"


def _endpoint_page(database: Database, act: str, account: str) -> ActPage:
    with database.read() as connection:
        views = watched_endpoints(connection, database.now(connection))
    view = next((view for view in views if view.account == account), None)
    if view is None or (view.endpoint is None and not (act == "forget" and view.count.pending + view.count.gave_up)):
        abort(404)
    endpoint, waiting, gave_up = view.endpoint, view.count.pending, view.count.gave_up
    title, meaning, _ = _ACTS[act]
    about = [
        (text("Account"), account),
        (text("Endpoint"), "" if endpoint is None else endpoint.shown),
        (text("Notifications that wait"), f"{waiting:,}"),
        (text("Notifications that were given up"), f"{gave_up:,}"),
    ]
    never_sent = text("%(count)s notifications will never be sent.", count=f"{waiting + gave_up:,}")
    return ActPage(
        title=text(title),
        meaning=text(meaning),
        about=[(name, value) for name, value in about if value],
        fields=[acting.reason_field(is_required=False)],
        warnings=[never_sent] if act == "forget" and waiting + gave_up else [],
        back=_notifications(),
        button=text(title),
    )


def _act(database: Database, act: str, account: str, page: ActPage) -> Response:
    who, removed = acting.operator(acting.reason_of(page)), 0
    if act == "forget":
        _, removed = forget_endpoint(database, who, account)
    else:
        (pause_notifications if act == "pause" else resume_notifications)(database, who, account)
    return acting.finish(page.back, text(_ACTS[act][2], account=account, count=f"{removed:,}"))


def _resend_page(account: str, count: int) -> ActPage:
    page = ActPage(
        title=text("Resend what was given up"),
        meaning=text(
            "Sends once more how each of these orders stands, behind the results that come meanwhile."
            " Correct the receiver first: what it refuses again is given up again."
        ),
        about=[(text("Account"), account or text("all")), (text("Orders"), f"{count:,}")],
        fields=[acting.reason_field(is_required=False)],
        back=_notifications(),
        button=text("Resend for %(count)s orders", count=f"{min(count, acting.MOST_AT_ONCE):,}"),
    )
    return acting.for_all(page, count)


def _resend(database: Database, order_ids: list[int], page: ActPage) -> Response:
    done = list(resend(database, acting.operator(acting.reason_of(page)), order_ids))
    count = sum(one.again + one.made for one in done)
    refused = [why for one in done for why in one.refusals.values()]
    said = text("Done: %(count)s notifications will be sent once more.", count=f"{count:,}")
    return acting.finish(page.back, said, refused)


def _retry_page(database: Database, rejected_id: int) -> ActPage:
    with database.read() as connection:
        row = rejected_by_id(connection, rejected_id)
    if row is None:
        abort(404)
    return ActPage(
        title=text("Retry refused input"),
        meaning=text(
            "Gives the same input to the same checks once more, for after a correction of the settings. What is taken"
            " in goes from the list; what is refused again stays, with its new faults."
        ),
        about=[
            (text("Row"), str(rejected_id)),
            (text("Received at"), time_in_zone(row["received_at"])),
            (text("Came by"), row["source"]),
            (text("Faults"), row["errors"]),
            (text("Input"), row["payload"][:_LONGEST_SHOWN]),
        ],
        back=f"{url_for('console.overview')}rejected",
        button=text("Retry"),
    )
