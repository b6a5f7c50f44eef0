"""`reconciler pause`, `resume` and `hold`: what an operator does to an account's queries, or to all of them."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from worker.adapters.clock import HostClock
from worker.cli.act_base import Act, ReasonedAct, acting_session
from worker.cli.completion import account_names
from worker.cli.output import InUtc, counted, time_text
from worker.cli.session import require_configured
from worker.cli.times import AGE_RULE, read_duration
from worker.domain.orders.operator_acts import Resumed
from worker.domain.records.slots import SlotRow
from worker.operations.act_by_hand import hold_slots, pause_account, resume_account
from worker.runtime import accounts_by_sid, rules_of


def _read_lasts(value: str | None) -> str | None:
    if value is not None and read_duration(value) is None:
        raise typer.BadParameter(f"{value!r} is no duration; accepted: {AGE_RULE}")
    return value


OneAccount = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="The account's name in the settings.", autocompletion=account_names)
]
Lasts = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        help=f"When the pause ends by itself: {AGE_RULE}; without it, you end it.",
        callback=_read_lasts,
    ),
]


def pause(
    account: OneAccount,
    lasts: Lasts = None,
    utc: InUtc = False,
    *,
    act: ReasonedAct,
) -> None:
    """Send no query for an account, until `reconciler resume`, or for so long. Pausing again replaces the pause.

    Orders, callbacks and cancellations are still taken in. A query that is under way ends as any other.

    Examples:
      reconciler pause default --for 2h --reason "the platform is being moved"
      reconciler pause shop --reason "ticket 77" --by ann
    """
    who = act.operator()
    with acting_session(needs_accounts=True, utc=utc) as opened:
        require_configured(opened.settings, [account])
        before, after = pause_account(opened.database, who, account, _duration(lasts))
    assert after.paused_at is not None
    replaced = before.is_paused(after.paused_at)
    if act.as_json:
        paused = {name: getattr(after, name) for name in ("paused_at", "paused_until", "paused_by", "pause_reason")}
        act.print_json({"account": account, **paused, "replaced": replaced})
        return
    until = "until it is resumed" if after.paused_until is None else f"until {time_text(after.paused_until)}"
    again = ", which replaces its earlier pause" if replaced else ""
    act.say(f"{account} is paused {until}{again}.")


def resume(
    account: OneAccount,
    utc: InUtc = False,
    *,
    act: Act,
) -> None:
    """End the pause of an account, and its back-off: its orders are polled again from now on.

    What the platform asked for (Retry-After, too frequent) is waited for all the same, and so is the slot: the limit
    stays as it is. After a -205 one order is polled first.

    Examples:
      reconciler resume default
      reconciler resume shop --json
    """
    who = act.operator()
    with acting_session(needs_accounts=True, utc=utc) as opened:
        require_configured(opened.settings, [account])
        done = resume_account(opened.database, who, account)
    if act.as_json:
        act.print_json({"account": account, "resumed": done.is_resumed, "backs_off_until": done.waits_until})
    elif done.is_resumed:
        act.say(_resumed_in_words(account, done))
    elif done.waits_until is not None:
        typer.echo(f"{account} is not paused. {_asked_to_wait(done.waits_until)}")
    else:
        typer.echo(f"{account} is not paused and does not back off: nothing to resume.")


def _resumed_in_words(account: str, done: Resumed) -> str:
    ended = []
    if done.was_paused:
        ended.append(f"it was paused by {done.before.paused_by or 'an operator'}")
    if done.ended_back_off is not None:
        ended.append(f"it backed off until {time_text(done.ended_back_off)}")
    if done.waits_until is not None:
        return f"{account} is resumed: {' and '.join(ended)}. {_asked_to_wait(done.waits_until)}"
    return f"{account} is polled again; {' and '.join(ended)}."


def _asked_to_wait(until: datetime) -> str:
    return f"The platform asked to wait until {time_text(until)}: no operator can end that."


def hold(
    utc: InUtc = False,
    *,
    act: Act,
) -> None:
    """Send no query of any account until a full reservation has passed, whatever the slots' rows say.

    For after a failover or a restore that may have lost commits: the database may not know of the last query. A query
    that is under way settles nothing any more; its orders are polled again. Run it where a worker runs.

    Examples:
      reconciler hold --reason "failover at 14:05"
      reconciler hold --dry-run
    """
    who = act.operator()
    with acting_session(needs_accounts=True, utc=utc) as opened:
        names = accounts_by_sid(opened.settings)
        held = hold_slots(opened.database, HostClock(), rules_of(opened.settings), who, names.keys())
    if act.as_json:
        act.print_json({"slots": [_slot(row, names) for row in held]})
    elif held:
        latest = max(row.slot.due_at for row in held)
        act.say(f"{counted(len(held), 'slot')} held: no query before {time_text(latest)}.")
    else:
        typer.echo("No slot has a row yet: each begins with a full reservation, once a worker starts.")


def _duration(text: str | None) -> timedelta | None:
    return None if text is None else read_duration(text)


def _slot(row: SlotRow, names: dict[str, list[str]]) -> dict[str, Any]:
    seconds = round(row.slot.wait_seconds, 3)
    return {"accounts": names[row.account_sid], "slot": row.number, "due_at": row.slot.due_at, "wait_seconds": seconds}
