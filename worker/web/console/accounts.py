"""What a person does to an account's queries, and to those of all accounts."""

from datetime import datetime, timedelta

from flask import Blueprint, abort

from worker.adapters.clock import HostClock
from worker.database.transactions import Database
from worker.domain.accounts.waits import resume
from worker.domain.records.accounts import AccountState, Pause
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import Operator, hold_slots, pause_accounts, resume_account
from worker.settings import Settings
from worker.settings.rules import rules_of, sids_of
from worker.views.accounts import read_state
from worker.web.console.acts import (
    ActPage,
    Field,
    add_act,
    addressed,
    is_confirmed,
    typed,
)
from worker.web.console.translations import duration, meaning, shown_time, text, word

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
    """`/accounts/pause` and `/accounts/resume`, `/hold`."""

    def act_on_account(act: str) -> ActPage:
        account = _addressed(settings)
        return _pause_page(database, account) if act == "pause" else _resume_page(database, account)

    add_act(routes, "/accounts/<any(pause, resume):act>", "act_on_account", act_on_account)
    add_act(routes, "/hold", "hold", lambda: _hold_page(database, settings))


def _addressed(settings: Settings) -> str:
    account = addressed("account")
    if account not in settings.accounts:
        abort(404)
    return account


def pause_in_words(pause: Pause | None) -> str:
    """When it begins and ends, who said so and why; empty for None."""
    if pause is None:
        return ""
    until = shown_time(pause.paused_until) or "…"
    when = text("from %(time)s until %(until)s", shown_time(pause.paused_at), until)
    return text(", ").join(filter(None, (when, pause.paused_by, pause.pause_reason)))


def _pauses_on(state: AccountState, now: datetime) -> list[tuple[str, str]]:
    return [(text("Paused"), pause_in_words(one)) for one in state.pauses_on(now) or (None,)]


def _pause_page(database: Database, account: str) -> ActPage:
    with database.read() as connection:
        about = _pauses_on(read_state(connection, account), database.now(connection))
    lasts = typed("lasts")
    options = [(name, duration(length.total_seconds())) for name, length in _PAUSES.items()]
    is_fault = is_confirmed() and lasts not in (*_PAUSES, _UNTIL_RESUMED)
    return ActPage(
        title=word(ActKind.PAUSE),
        meaning=meaning(ActKind.PAUSE),
        about=[(text("Account"), account), *about],
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
        ],
        needs_reason=True,
        do=lambda who: _pause(database, who, account, lasts),
    )


def _pause(database: Database, who: Operator, account: str, lasts: str) -> str:
    _, state = pause_accounts(database, who, [account], lasts=_PAUSES.get(lasts))[0]
    until = state.pauses[-1].paused_until
    if until is None:
        return text("Done: %(account)s is paused until somebody resumes it.", account)
    return text("Done: %(account)s is paused until %(time)s.", account, shown_time(until))


def _resume_page(database: Database, account: str) -> ActPage:
    with database.read() as connection:
        seen = resume(read_state(connection, account), database.now(connection))
    state = seen.before
    about = [
        (text("Account"), account),
        *_pauses_on(state, seen.now),
        (text("Backs off until"), shown_time(state.backoff_until if state.is_backed_off(seen.now) else None)),
        (text("The platform asked to wait until"), shown_time(seen.waits_until)),
    ]
    not_paused = (
        text("It is not paused, and the platform itself asked to wait.")
        if seen.waits_until
        else text("It is not paused, and does not wait after a failure.")
    )
    return ActPage(
        title=word(ActKind.RESUME),
        meaning=meaning(ActKind.RESUME),
        about=about,
        refused="" if seen.is_resumed else not_paused,
        do=lambda who: _resume(database, who, account),
    )


def _resume(database: Database, who: Operator, account: str) -> str:
    until = resume_account(database, who, account).waits_until
    if until is None:
        return text("Done: %(account)s is polled again.", account)
    time = shown_time(until)
    return text("Done: %(account)s is polled again from %(time)s on, as the platform asked.", account, time)


def _hold_page(database: Database, settings: Settings) -> ActPage:
    rules = rules_of(settings)

    def do(who: Operator) -> str:
        held = hold_slots(database, HostClock(), rules, who, set(sids_of(settings).values()))
        if not held:
            return text("No slot has a row yet: each begins with a full reservation.")
        latest = max(row.slot.due_at for row in held)
        return text("Done: no query before %(time)s.", shown_time(latest))

    return ActPage(
        title=word(ActKind.HOLD),
        meaning=meaning(ActKind.HOLD),
        about=[
            (text("Accounts"), text(", ").join(settings.accounts)),
            (text("For"), duration(rules.reservation_seconds)),
        ],
        back="maintenance",
        do=do,
    )
