"""Maintenance: which accounts are paused and will be, what a person does about it, and the lines that say so on every
page."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from functools import partial

from flask import Blueprint, g, render_template, request

from worker.database.transactions import Database
from worker.domain.accounts.waits import announced_pauses, pause_fault
from worker.domain.records.accounts import AccountState
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import Operator, cancel_planned_pauses, pause_accounts
from worker.settings import Settings
from worker.views.accounts import read_states
from worker.web.console.accounts import pause_in_words
from worker.web.console.acts import ActPage, Field, add_act, addressed, is_confirmed, typed
from worker.web.console.translations import meaning, shown_time, text
from worker.web.shared_readings import Apart

_KEPT_SECONDS = 1.0
"""How old the reading may be that every page shows; then it is read again."""
_PATIENCE_SECONDS = 1.0
"""How long a page waits for a newer reading. Then it shows the last one."""
_ALL = "*"
# No account's name holds it.
_BETWEEN = ","

Known = tuple[list[AccountState], datetime]
"""The states of the accounts of the settings, and the time."""


def add_routes(routes: Blueprint, settings: Settings, database: Database, apart: Apart) -> None:
    """`/maintenance`, `/maintenance/plan` and `/maintenance/cancel`; `apart` reads what every page says."""
    read = partial(_read, settings, database)
    # A page that needs the database says itself that it is away.
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

    add_act(routes, "/maintenance/plan", "plan_pause", lambda: _plan_page(settings, database, *read()))
    add_act(routes, "/maintenance/cancel", "cancel_planned_pause", lambda: _cancel_page(database, *read()))


def _read(settings: Settings, database: Database) -> Known:
    with database.read() as connection:
        known = {state.account: state for state in read_states(connection)}
        return [known.get(name) or AccountState(account=name) for name in settings.accounts], database.now(connection)


def proposed_pause(now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The next 23:00 after `now` in a zone, and 06:00 of the following day."""
    evening = now.astimezone(zone).replace(hour=23, minute=0, second=0, microsecond=0)
    evening += timedelta(days=evening <= now)
    return evening, (evening + timedelta(days=1)).replace(hour=6)


def _plan_page(settings: Settings, database: Database, states: Sequence[AccountState], now: datetime) -> ActPage:
    zone = settings.zone
    evening, morning = proposed_pause(now, zone)
    chosen = request.form.getlist("account")
    accounts = list(settings.accounts) if _ALL in chosen else [one for one in settings.accounts if one in chosen]
    times = [_time_field("from", text("From"), evening), _time_field("until", text("Until"), morning)]
    begins, ends = (None if one.fault else datetime.fromisoformat(one.value).replace(tzinfo=zone) for one in times)
    if is_confirmed() and begins and ends and (fault := pause_fault(begins, ends, now)):
        times[1] = _time_field("until", text("Until"), morning, fault=text(fault.value))
    every = [(_ALL, text("All accounts")), *((name, name) for name in settings.accounts)]
    return ActPage(
        title=text("Plan a pause"),
        meaning=text(
            "These accounts are not polled from the one time to the other; orders and callbacks are still taken in."
            " Other pauses and plans stay."
        ),
        about=[
            (state.account, pause_in_words(one)) for state in states for one in state.planned_pauses(now) or (None,)
        ],
        fields=[
            Field(
                name="account",
                label=text("Accounts"),
                kind="choices",
                value=_BETWEEN.join(chosen),
                options=every if len(every) > 2 else every[1:],
                fault=text("Choose one.") if is_confirmed() and not accounts else "",
                is_required=True,
            ),
            *times,
        ],
        needs_reason=True,
        back="maintenance",
        do=lambda who: _plan(database, who, accounts, begins and max(begins, now), ends),
    )


def _plan(
    database: Database, who: Operator, accounts: Sequence[str], begins: datetime | None, ends: datetime | None
) -> str:
    pause_accounts(database, who, accounts, begins=begins, ends=ends)
    named, since, until = text(", ").join(accounts), shown_time(begins), shown_time(ends)
    return text("Done: %(account)s is to be paused from %(since)s until %(time)s.", named, since, until)


def _time_field(name: str, label: str, proposed: datetime, fault: str = "") -> Field:
    """A time in the zone of the console: as it was typed, or as it is proposed."""
    value = typed(name) if request.method == "POST" else f"{proposed:%Y-%m-%dT%H:%M}"
    try:
        is_time = datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        is_time = False
    unread = "" if is_time else text("Give a date and a time.")
    return Field(name=name, label=label, kind="time", value=value, fault=unread or fault, is_required=True)


def _cancel_page(database: Database, states: Sequence[AccountState], now: datetime) -> ActPage:
    """Cancels a plan of an account, the next one unless the address names its act; for all accounts of that act."""
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
