"""`reconciler pause`, `resume`, `hold` and `limit`: commands that hold back the queries of accounts or release them."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Annotated, Any

import typer

from worker.adapters.clock import HostClock
from worker.cli.acts import Act, ReasonedAct, acting_session
from worker.cli.declare import WrongUse
from worker.cli.output import (
    AsJson,
    counted,
    print_json,
    say,
    time_text,
    warn,
)
from worker.cli.session import require_configured, session
from worker.cli.times import AGE_RULE, TIME_AHEAD_RULE, read_duration, read_time_ahead
from worker.domain.accounts.waits import Resumed, pause_fault
from worker.domain.records.accounts import AccountState, Pause, SlotRow
from worker.domain.records.sentences import Sentence, _, joined
from worker.operations.act_by_hand import cancel_planned_pauses, hold_slots, pause_accounts, resume_account
from worker.operations.maintain_slots import lower_windows
from worker.settings import Settings
from worker.settings.addresses import is_loopback
from worker.settings.rules import accounts_by_sid, rules_of

# The bounds of RECONCILER_QUERY_WINDOW_SECONDS.
_LEAST_SECONDS, _MOST_SECONDS = 0.05, 31_536_000.0
_LIMIT_SECONDS = 60.0
_PAUSE = ("paused_at", "paused_until", "paused_by", "pause_reason")
PLANNED = ("planned_from", "planned_until", "planned_by", "planned_reason")
"""The names in JSON of the fields of a planned pause, in the order of `_PAUSE`."""


def habits_to_response(state: AccountState) -> dict[str, Any]:
    """What is known about the form of the platform's answers to an account, as JSON."""
    return {
        "echoes_custom_parm": state.echoes_custom_parm,
        "one_item_mode": state.one_item_mode,
    }


def read_lasts(value: str | None) -> str | None:
    """Check the duration that an option names; the option's `callback`. Raises WrongUse if the text is no duration."""
    if value is not None and read_duration(value) is None:
        raise WrongUse("%(value)r is no duration; accepted: %(rule)s", value, AGE_RULE)
    return value


Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name in the settings.")]
SomeAccounts = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ACCOUNT...]", help="Names of accounts in the settings."),
]
EveryAccount = Annotated[bool, typer.Option("--all", help="All accounts of the settings.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help=f"When the pause begins by itself: {TIME_AHEAD_RULE}.")
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="When it ends by itself, in the same forms; 30 days ahead at most."),
]
OnlyPlanned = Annotated[bool, typer.Option("--planned", help="Cancel the planned pauses, which have not begun.")]
Lasts = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        help=f"When the pause ends by itself: {AGE_RULE}; without it, you end it.",
        callback=read_lasts,
    ),
]
Window = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=_LEAST_SECONDS,
        max=_MOST_SECONDS,
        help="The window that holds then. Each slot begins with one full reservation of its longer window.",
    ),
]


def pause(
    accounts: SomeAccounts = None,
    every: EveryAccount = False,
    lasts: Lasts = None,
    from_: From = None,
    until: Until = None,
    *,
    act: ReasonedAct,
) -> None:
    """Send no query for accounts until `reconciler resume`, or for a duration.

    Orders, callbacks and cancellations are still taken in. A query under way ends normally. Pausing again replaces the
    pause. With --from, the pause is planned and begins by itself. A planned pause does not replace another pause or
    plan, and is not replaced by one.

    Examples:
      reconciler pause default --for 2h --reason "the platform is being moved"
      reconciler pause --all --from 23:00 --until 06:00 --reason "maintenance of the platform"
      reconciler pause shop --reason "ticket 77" --by ann
    """
    if bool(accounts) == every:
        raise WrongUse("name accounts, or give --all")
    if (from_ is not None and until is None) or (lasts is not None and until is not None):
        raise WrongUse("--from needs --until, and --for is instead of both")
    who = act.operator()
    with acting_session(needs_accounts=True) as opened:
        names = list(dict.fromkeys(accounts or opened.settings.accounts))
        require_configured(opened.settings, names)
        now = opened.now()
        begins, ends = _period(from_, until, now, opened.settings.zone)
        length = None if lasts is None else read_duration(lasts)
        done = pause_accounts(opened.database, who, names, lasts=length, begins=begins, ends=ends)
    paused = [_paused(before, after, now) for before, after in done]
    if act.as_json:
        act.print_json(paused[0] if len(paused) == 1 and not every else {"accounts": paused})
        return
    for one, (_before, state) in zip(paused, done, strict=True):
        act.say("%(what)s", _paused_in_words(one, is_planned=not state.pauses[-1].has_begun(now)))


def _period(from_: str | None, until: str | None, now: datetime, zone: tzinfo) -> tuple[datetime | None, ...]:
    begins = None if from_ is None else read_time_ahead("--from", from_, now, zone)
    ends = None if until is None else read_time_ahead("--until", until, begins or now, zone)
    if ends is not None and (fault := pause_fault(begins, ends, now)):
        raise WrongUse("%(why)s", Sentence(fault.value))
    return begins and max(begins, now), ends


def _paused(before: AccountState, after: AccountState, now: datetime) -> dict[str, Any]:
    *others, added = after.pauses
    replaced = any(one not in others for one in before.lasting_pauses(now))
    told = {"account": after.account, **pauses_to_response(after, now), "replaced": replaced}
    return told if added.has_begun(now) else told | _planned(added)


def pauses_to_response(state: AccountState, now: datetime) -> dict[str, Any]:
    """The present and the planned pauses of an account, as JSON. Its top-level fields describe two of them: the present
    pause that ends last, and the next planned pause."""
    on = [{name: getattr(one, name) for name in _PAUSE} for one in state.pauses_on(now)]
    plans = [_planned(one) for one in state.planned_pauses(now)]
    first = (on or [dict.fromkeys(_PAUSE)])[0] | (plans or [dict.fromkeys(PLANNED)])[0]
    return first | {"pauses": on, "planned_pauses": plans}


def _planned(plan: Pause) -> dict[str, Any]:
    return {key: getattr(plan, name) for key, name in zip(PLANNED, _PAUSE, strict=True)}


def _paused_in_words(paused: Mapping[str, Any], *, is_planned: bool) -> Sentence:
    if is_planned:
        begins, ends = time_text(paused["planned_from"]), time_text(paused["planned_until"])
        return _("%(account)s is to be paused from %(begin)s until %(end)s.", paused["account"], begins, ends)
    again = _(", which replaces its earlier pause") if paused["replaced"] else ""
    ends = paused["paused_until"]
    until = _("until it is resumed") if ends is None else _("until %(time)s", time_text(ends))
    return _("%(account)s is paused %(until)s%(again)s.", paused["account"], until, again)


def resume(account: Account, planned: OnlyPlanned = False, *, act: Act) -> None:
    """End the pause and the back-off of an account: its orders are polled again from now on.

    A wait that the platform asked for (Retry-After, too frequent) does not end, and the limit of queries stays as it
    is. After a -205, one order is polled first. Planned pauses that have not begun stay; --planned cancels them, and
    does nothing else.

    Examples:
      reconciler resume default
      reconciler resume shop --planned
    """
    who = act.operator()
    with acting_session(needs_accounts=True) as opened:
        require_configured(opened.settings, [account])
        if planned:
            _say_cancelled(act, account, cancel_planned_pauses(opened.database, who, [account]).get(account, ()))
            return
        done = resume_account(opened.database, who, account)
    if act.as_json:
        act.print_json({"account": account, "resumed": done.is_resumed, "backs_off_until": done.waits_until})
    elif done.is_resumed:
        act.say("%(what)s", _resumed_in_words(account, done))
    elif done.waits_until is not None:
        say("%(account)s is not paused. %(why)s", account, _asked_to_wait(done.waits_until))
    else:
        say("%(account)s is not paused and does not back off: nothing to resume.", account)


def _say_cancelled(act: Act, account: str, plans: Sequence[Pause]) -> None:
    if act.as_json:
        act.print_json({"account": account, "cancelled": bool(plans)})
        return
    for one in plans:
        act.say("%(account)s is not to be paused from %(begin)s any more.", account, time_text(one.paused_at))
    if not plans:
        say("No pause of %(account)s is planned: nothing to cancel.", account)


def _resumed_in_words(account: str, done: Resumed) -> Sentence:
    pauses = done.before.pauses_on(done.now)
    ended = [_("it was paused by %(who)s", one.paused_by or _("an operator")) for one in pauses]
    if done.ended_back_off is not None:
        ended.append(_("it backed off until %(end)s", time_text(done.ended_back_off)))
    what = joined(ended)
    if done.waits_until is not None:
        return _("%(account)s is resumed: %(what)s. %(why)s", account, what, _asked_to_wait(done.waits_until))
    return _("%(account)s is polled again; %(what)s.", account, what)


def _asked_to_wait(until: datetime) -> Sentence:
    return _("The platform asked to wait until %(end)s: no operator can end that.", time_text(until))


def hold(*, act: Act) -> None:
    """Send no query of any account until a full reservation has passed, whatever the slots' rows say.

    Use it after a failover or a restore that may have lost commits: the database may not know about the last query. A
    query under way no longer settles its orders; these orders are polled again. Run the command on a host that runs a
    worker.

    Examples:
      reconciler hold --reason "failover at 14:05"
      reconciler hold --dry-run
    """
    who = act.operator()
    with acting_session(needs_accounts=True) as opened:
        names = accounts_by_sid(opened.settings)
        held = hold_slots(opened.database, HostClock(), rules_of(opened.settings), who, names.keys())
    if act.as_json:
        act.print_json({"slots": [_held(row, names) for row in held]})
    elif held:
        latest = max(row.slot.due_at for row in held)
        act.say("%(slots)s held: no query before %(time)s.", counted(len(held), "slot"), time_text(latest))
    else:
        say("No slot has a row yet: each begins with a full reservation, once a worker starts.")


def _held(row: SlotRow, names: dict[str, list[str]]) -> dict[str, Any]:
    seconds = round(row.slot.wait_seconds, 3)
    return {"accounts": names[row.account_sid], "slot": row.number, "due_at": row.slot.due_at, "wait_seconds": seconds}


def limit(window: Window, as_json: AsJson = False) -> None:
    """Lower the windows of slots that are longer than --window, after all workers with a longer one have stopped.

    The longest window of all workers on a database applies: a worker with a longer window raises the slots' windows,
    and a worker with a shorter one sends no query. `reconciler doctor` reports such a worker, and `reconciler status`
    shows when each slot may carry its next query.

    Examples:
      reconciler limit --window 60
    """
    with session(needs_accounts=True) as opened:
        _check_window(window, opened.settings)
        sids = {one.account_sid for one in opened.settings.accounts.values()}
        lowered = lower_windows(opened.database, HostClock(), rules_of(opened.settings), sids, window)
    if as_json:
        print_json({"lowered": [_lowered(before, after) for before, after in lowered]})
    else:
        _print_lowered(lowered, window)


def _check_window(window: float, settings: Settings) -> None:
    if not math.isfinite(window):
        raise WrongUse("--window takes a number of seconds")
    if window < _LIMIT_SECONDS and not is_loopback(settings.platform_url):
        shown = f"{window:g}"
        raise WrongUse(
            "--window %(value)s is under 60, the least while the host of RECONCILER_PLATFORM_URL is not loopback", shown
        )
    if window < (own := settings.query_window_seconds):
        warn(
            "RECONCILER_QUERY_WINDOW_SECONDS is %(own)s here, and a worker with it raises the window again", f"{own:g}"
        )


def _lowered(before: SlotRow, after: SlotRow) -> dict[str, Any]:
    windows = {"from_seconds": before.slot.window_seconds, "to_seconds": after.slot.window_seconds}
    return {"account_sid": before.account_sid, "slot": before.number, **windows}


def _print_lowered(lowered: Sequence[tuple[SlotRow, SlotRow]], window: float) -> None:
    if not lowered:
        say("No slot has a window longer than %(window)s s: nothing to lower.", f"{window:g}")
        return
    longest = max(before.slot.window_seconds for before, _after in lowered)
    slots, now, before = counted(len(lowered), "slot"), f"{window:g}", f"{longest:g}"
    say("The window of %(slots)s is %(window)s s now, and was up to %(longest)s s.", slots, now, before)
