"""What a person does to an account's queries, to those of all accounts, and to all unresolved orders of an account."""

from datetime import datetime, timedelta

from flask import Blueprint, Response, abort, url_for

from worker.adapters.clock import HostClock
from worker.database.transactions import Database
from worker.domain.operator_acts import Resumed, reopen_unresolved, resume
from worker.domain.records.acts import ActKind
from worker.operations.act_by_hand import act_on_orders, hold_slots, pause_account, resume_account
from worker.runtime import rules_of, sids_of
from worker.settings import Settings
from worker.views.accounts import read_state
from worker.views.orders import unresolved_since
from worker.web.console import acting
from worker.web.console.acting import ActPage, Field
from worker.web.console.formats import duration, time_in_zone
from worker.web.console.languages import text

_PAUSES = {
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
}
_UNTIL_RESUMED = "until-resumed"


def add_routes(routes: Blueprint, settings: Settings, database: Database) -> None:
    """`/accounts/pause` and `/accounts/resume`, `/hold`, `/orders/reopen-unresolved`."""

    @routes.route("/accounts/<any(pause, resume):act>", methods=["GET", "POST"])
    def act_on_account(act: str) -> Response:
        acting.operator()
        account = acting.addressed("account")
        if account not in settings.accounts:
            abort(404)
        page = _pause_page(account) if act == "pause" else _resume_page(database, account)
        if not acting.is_confirmed() or page.has_faults or page.refused:
            return acting.show(page)
        return (_pause if act == "pause" else _resume)(database, account, page)

    @routes.route("/hold", methods=["GET", "POST"])
    def hold() -> Response:
        acting.operator()
        page = _hold_page(settings)
        if not acting.is_confirmed() or page.has_faults:
            return acting.show(page)
        who = acting.operator(acting.reason_of(page))
        held = hold_slots(database, HostClock(), rules_of(settings), who, set(sids_of(settings).values()))
        if not held:
            return acting.finish(page.back, text("No slot has a row yet: each begins with a full reservation."))
        latest = max(row.slot.due_at for row in held)
        return acting.finish(page.back, text("Done: no query before %(time)s.", time=time_in_zone(latest)))

    @routes.route("/orders/reopen-unresolved", methods=["GET", "POST"])
    def reopen_all_unresolved() -> Response:
        acting.operator()
        account = acting.addressed("account")
        if account not in settings.accounts:
            abort(404)
        with database.read() as connection:
            found = unresolved_since(connection, None, [account])
        page = _reopen_page(account, len(found))
        if not acting.is_confirmed() or page.has_faults or page.refused:
            return acting.show(page)
        return _reopen(database, found[: acting.MOST_AT_ONCE], page)


def _overview() -> str:
    return url_for("console.overview")


def _pause_page(account: str) -> ActPage:
    lasts = acting.typed("lasts")
    options = [(name, duration(length.total_seconds())) for name, length in _PAUSES.items()]
    is_fault = acting.is_confirmed() and lasts not in (*_PAUSES, _UNTIL_RESUMED)
    return ActPage(
        title=text("Pause queries"),
        meaning=text(
            "Sends no query for the account's orders. Orders and callbacks are still taken in, and callbacks settle"
            " orders as ever. An earlier pause is replaced."
        ),
        about=[(text("Account"), account)],
        fields=[
            Field(
                name="lasts",
                label=text("For how long"),
                kind="choice",
                value=lasts,
                options=[*options, (_UNTIL_RESUMED, text("until somebody resumes it"))],
                fault=text("Choose one.") if is_fault else "",
                is_required=True,
            ),
            acting.reason_field(is_required=True),
        ],
        back=_overview(),
        button=text("Pause queries"),
    )


def _pause(database: Database, account: str, page: ActPage) -> Response:
    who = acting.operator(acting.reason_of(page))
    _, after = pause_account(database, who, account, _PAUSES.get(acting.typed("lasts")))
    until = after.paused_until
    if until is None:
        return acting.finish(page.back, text("Done: %(account)s is paused until somebody resumes it.", account=account))
    said = text("Done: %(account)s is paused until %(time)s.", account=account, time=time_in_zone(until))
    return acting.finish(page.back, said)


def _resume_page(database: Database, account: str) -> ActPage:
    with database.read() as connection:
        seen = resume(read_state(connection, account), database.now(connection))
    state = seen.before
    about = [
        (text("Account"), account),
        (text("Paused by"), state.paused_by if seen.was_paused else None),
        (text("Reason"), state.pause_reason if seen.was_paused else None),
        (text("Paused until"), _time(state.paused_until) if seen.was_paused else None),
        (text("Backs off until"), _time(state.backoff_until) if state.is_backed_off(seen.now) else None),
        (text("The platform asked to wait until"), _time(seen.waits_until)),
    ]
    return ActPage(
        title=text("Resume queries"),
        meaning=text(
            "Queries the account's orders again from now on: its pause ends, and what it waits after a failure. What"
            " the platform itself asked to wait has to pass, and so has the window of the last query."
        ),
        about=[(name, value) for name, value in about if value],
        fields=[acting.reason_field(is_required=False)],
        refused=_not_resumed(seen),
        back=_overview(),
        button=text("Resume queries"),
    )


def _time(time: datetime | None) -> str | None:
    return None if time is None else time_in_zone(time)


def _not_resumed(seen: Resumed) -> str:
    """Why there is nothing to resume; empty where there is."""
    if seen.is_resumed:
        return ""
    if seen.waits_until is None:
        return text("It is not paused, and does not wait after a failure.")
    return text("It is not paused, and the platform itself asked to wait.")


def _resume(database: Database, account: str, page: ActPage) -> Response:
    done = resume_account(database, acting.operator(acting.reason_of(page)), account)
    if done.waits_until is None:
        return acting.finish(page.back, text("Done: %(account)s is queried again.", account=account))
    words = {"account": account, "time": time_in_zone(done.waits_until)}
    said = text("Done: %(account)s is queried again from %(time)s on, as the platform asked.", **words)
    return acting.finish(page.back, said)


def _hold_page(settings: Settings) -> ActPage:
    seconds = rules_of(settings).reservation_seconds
    return ActPage(
        title=text("Hold all queries"),
        meaning=text(
            "Sends no query of any account for a full reservation. It is for after a failover or a restore that may"
            " have lost commits: the database may not know of the last query. A query that is under way settles"
            " nothing any more; its orders are queried again."
        ),
        about=[(text("Accounts"), ", ".join(settings.accounts)), (text("For"), duration(seconds))],
        fields=[acting.reason_field(is_required=False)],
        back=_overview(),
        button=text("Hold all queries"),
    )


def _reopen_page(account: str, count: int) -> ActPage:
    page = ActPage(
        title=text("Reopen all unresolved orders"),
        meaning=text(
            "Makes them pending again, to be queried as their turn comes. Reasons for a person's attention are cleared;"
            " the history keeps them."
        ),
        about=[(text("Account"), account), (text("Unresolved orders"), f"{count:,}")],
        fields=[acting.reason_field(is_required=True)],
        back=_overview(),
        button=text("Reopen %(count)s orders", count=f"{min(count, acting.MOST_AT_ONCE):,}"),
    )
    return acting.for_all(page, count)


def _reopen(database: Database, order_ids: list[int], page: ActPage) -> Response:
    who = acting.operator(acting.reason_of(page))
    done = list(act_on_orders(database, who, ActKind.REOPEN, order_ids, reopen_unresolved))
    count = sum(len(one.changes) for one in done)
    refused = [why for one in done for why in one.refusals.values()]
    return acting.finish(page.back, text("Done: %(count)s orders are pending again.", count=f"{count:,}"), refused)
