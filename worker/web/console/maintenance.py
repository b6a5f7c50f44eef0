"""The pages for maintenance: present and planned pauses of accounts, the acts that make or end pauses, and the lines
about pauses on every page. Also the act that holds all queries."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from functools import partial

from flask import Blueprint, abort, g, render_template, request

from worker.adapters.clock import HostClock
from worker.database.transactions import Database
from worker.domain.accounts.waits import announced_pauses, pause_fault, resume
from worker.domain.records.accounts import AccountState, Pause
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import Operator, cancel_planned_pauses, hold_slots, pause_accounts, resume_account
from worker.settings import Settings
from worker.settings.rules import rules_of, sids_of
from worker.views.accounts import read_state, read_states
from worker.web.console.acts import ActPage, Field, add_act, addressed, is_confirmed, typed
from worker.web.console.translations import duration, meaning, shown_time, text, word
from worker.web.shared_readings import Apart

_KEPT_SECONDS = 1.0
"""How long pages use the same reading of the pauses before the pauses are read again."""
_PATIENCE_SECONDS = 1.0
"""How long a page waits for a newer reading of the pauses. After that, it shows the last reading."""
_ALL = "*"
# Separates the names of accounts: no account's name has a comma.
_BETWEEN = ","

Known = tuple[list[AccountState], datetime]
"""The states of the accounts in the settings, and the database's time."""

_PROPOSED = timedelta(hours=1)
"""The proposed length of a pause that begins now."""


def add_routes(routes: Blueprint, settings: Settings, database: Database, apart: Apart) -> None:
    """Add `/maintenance`, `/maintenance/plan`, `/maintenance/cancel`, `/accounts/pause`, `/accounts/resume`, `/hold`.
    `apart` runs the reading of the pauses that every page shows."""
    read = partial(_read, settings, database)
    # Errors of this reading are not reported: a page that needs the database shows its errors itself.
    announced = apart.shared(read, kept_seconds=_KEPT_SECONDS, report=lambda _: None)

    def told() -> dict[str, object]:
        known = announced.latest(_PATIENCE_SECONDS) if g.get("viewer") else None
        return {} if known is None else {"pauses": announced_pauses(*known), "now": known[1]}

    @routes.app_context_processor
    def of_every_page() -> dict[str, object]:
        return {"announced": told}

    @routes.get("/maintenance")
    def maintenance() -> str:
        states, now = read()
        return render_template("console/maintenance.html", states=states, now=now, of_hold=meaning(ActKind.HOLD))

    add_act(routes, "/maintenance/plan", "plan_pause", lambda: _pause_page(settings, database, *read()))
    add_act(routes, "/maintenance/cancel", "cancel_planned_pause", lambda: _cancel_page(database, *read()))

    def act_on_account(act: str) -> ActPage:
        account = addressed("account")
        if account not in settings.accounts:
            abort(404)
        is_pause = act == "pause"
        return _pause_page(settings, database, *read(), account) if is_pause else _resume_page(database, account)

    add_act(routes, "/accounts/<any(pause, resume):act>", "act_on_account", act_on_account)
    add_act(routes, "/hold", "hold", lambda: _hold_page(database, settings))


def _read(settings: Settings, database: Database) -> Known:
    with database.read() as connection:
        known = {state.account: state for state in read_states(connection)}
        return [known.get(name) or AccountState(account=name) for name in settings.accounts], database.now(connection)


def proposed_pause(now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The proposed start and end of a planned pause: the next 23:00 after `now` in a zone, and 06:00 of the day
    after."""
    evening = now.astimezone(zone).replace(hour=23, minute=0, second=0, microsecond=0)
    evening += timedelta(days=evening <= now)
    return evening, (evening + timedelta(days=1)).replace(hour=6)


def _pause_page(
    settings: Settings, database: Database, states: Sequence[AccountState], now: datetime, account: str = ""
) -> ActPage:
    """The page to pause an account; the pause begins now unless a start is typed. Without an account, the page to plan
    a pause of several accounts."""
    zone = settings.zone
    evening, morning = proposed_pause(now, zone)
    proposed = (None, now.astimezone(zone) + _PROPOSED) if account else (evening, morning)
    chosen = [account] if account else request.form.getlist("account")
    accounts = list(settings.accounts) if _ALL in chosen else [one for one in settings.accounts if one in chosen]
    begin = _time_field("from", text("From"), proposed[0], text("Empty: from now on."))
    end = _time_field("until", text("Until"), proposed[1], text("Empty: until somebody resumes it."))
    begins, ends = _time_of(begin, zone), _time_of(end, zone)
    if is_confirmed() and not (begin.fault or end.fault):
        end = replace(end, fault=_end_fault(begins, ends, now))
    every = [(_ALL, text("All accounts")), *((name, name) for name in settings.accounts)]
    accounts_field = Field(
        name="account",
        label=text("Accounts"),
        kind="choices",
        value=_BETWEEN.join(chosen),
        options=every if len(every) > 2 else every[1:],
        fault=text("Choose one.") if is_confirmed() and not accounts else "",
        is_required=True,
    )
    return ActPage(
        title=word(ActKind.PAUSE),
        meaning=meaning(ActKind.PAUSE),
        about=[
            (state.account, pause_in_words(one))
            for state in states
            if account in ("", state.account)
            for one in (*state.pauses_on(now), *state.planned_pauses(now))
        ],
        fields=[*([] if account else [accounts_field]), begin, end],
        needs_reason=True,
        back="maintenance",
        do=lambda who: _pause(database, who, accounts, begins and max(begins, now), ends),
    )


def _end_fault(begins: datetime | None, ends: datetime | None, now: datetime) -> str:
    if ends is None:
        return text("Give a date and a time.") if begins else ""
    fault = pause_fault(begins, ends, now)
    return text(fault.value) if fault else ""


def _pause(
    database: Database, who: Operator, accounts: Sequence[str], begins: datetime | None, ends: datetime | None
) -> str:
    pause_accounts(database, who, accounts, begins=begins, ends=ends)
    named, since, until = text(", ").join(accounts), shown_time(begins), shown_time(ends)
    if ends is None:
        return text("Done: %(account)s is paused until somebody resumes it.", named)
    if begins is None:
        return text("Done: %(account)s is paused until %(time)s.", named, until)
    return text("Done: %(account)s is to be paused from %(since)s until %(time)s.", named, since, until)


def _time_field(name: str, label: str, proposed: datetime | None, hint: str) -> Field:
    """The field for a time in the zone of the console. Its value is the typed one, or before that the proposed one."""
    value = typed(name) if request.method == "POST" else f"{proposed:%Y-%m-%dT%H:%M}" if proposed else ""
    try:
        is_time = not value or datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        is_time = False
    fault = "" if is_time else text("Give a date and a time.")
    return Field(name=name, label=label, kind="time", value=value, hint=hint, fault=fault)


def _time_of(field: Field, zone: tzinfo) -> datetime | None:
    return datetime.fromisoformat(field.value).replace(tzinfo=zone) if field.value and not field.fault else None


def _cancel_page(database: Database, states: Sequence[AccountState], now: datetime) -> ActPage:
    """The page to cancel a planned pause of an account. If the address names the act that planned a pause, this pause
    is cancelled; otherwise the next one. The pause is cancelled for all accounts for which the same act planned it."""
    account, act = addressed("account"), addressed("act")
    plans = {state.account: state.planned_pauses(now) for state in states}
    shown = next((one for one in plans.get(account, ()) if act in ("", one.act_key)), None)
    accounts = [name for name, planned in plans.items() if shown in planned]

    def do(who: Operator) -> str:
        done = cancel_planned_pauses(database, who, accounts, shown)
        return text("Done: the planned pause of %(account)s is cancelled.", text(", ").join(done))

    return ActPage(
        title=text("Cancel the planned pause"),
        meaning=text("These accounts are polled on."),
        about=[
            (text("Accounts"), text(", ").join(accounts)),
            (text("Planned pause"), pause_in_words(shown)),
        ],
        refused="" if shown else text("No pause of this account is planned."),
        back="maintenance",
        do=do,
    )


def pause_in_words(pause: Pause | None) -> str:
    """The start, end, actor and reason of a pause in words; empty for None."""
    if pause is None:
        return ""
    until = shown_time(pause.paused_until) or "…"
    when = text("from %(time)s until %(until)s", shown_time(pause.paused_at), until)
    return text(", ").join(filter(None, (when, pause.paused_by, pause.pause_reason)))


def _resume_page(database: Database, account: str) -> ActPage:
    with database.read() as connection:
        seen = resume(read_state(connection, account), database.now(connection))
    state = seen.before
    about = [
        (text("Account"), account),
        *((text("Paused"), pause_in_words(one)) for one in state.pauses_on(seen.now)),
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
