"""`reconciler plan`: which orders the next query would poll, and why."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from worker.cli.completion import account_names
from worker.cli.output import (
    AsJson,
    InUtc,
    console,
    counted,
    duration_text,
    pause_in_words,
    print_json,
    print_table,
    time_text,
)
from worker.cli.session import require_configured, session
from worker.domain.records.orders import Order
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Pick, Reason
from worker.runtime import rules_of
from worker.views.queries import Plan, read_plans

_COLUMNS = ("id", "order", "age", "last_poll", "priority", "reason")

Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", help="Only this account; may be repeated.", autocompletion=account_names),
]
Limit = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="How many orders to show at most; all, if not given.")
]


def plan(account: Accounts = None, limit: Limit = None, utc: InUtc = False, as_json: AsJson = False) -> None:
    """Show the next query of each account as it would be chosen now, and why each order is in it. Changes nothing.

    An order's priority is the delay that a poll of it saves on average.

    Examples:
      reconciler plan
      reconciler plan --account shop --limit 20
      reconciler plan --json
    """
    with session(needs_accounts=True, utc=utc or as_json) as opened:
        settings, rules = opened.settings, rules_of(opened.settings)
        require_configured(settings, account or ())
        names = account or list(settings.accounts)
        read, now = read_plans(opened.database, [(name, settings.accounts[name].account_sid) for name in names], rules)
        plans = [_to_response(one, now, rules, limit) for one in read]
    if as_json:
        print_json({"now": now, "accounts": plans})
    else:
        for one in plans:
            _print_plan(one)


def _to_response(plan: Plan, now: datetime, rules: Rules, limit: int | None) -> dict[str, Any]:
    choice, state = plan.choice, plan.state
    until = state.backoff_until if state.is_backed_off(now) else None
    is_paused = state.is_paused(now)
    return {
        "account": state.account,
        "paused_at": state.paused_at if is_paused else None,
        "paused_until": state.paused_until if is_paused else None,
        "backs_off_until": until,
        "slot_due_at": plan.slot_due_at,
        "may_query_now": not (is_paused or until or plan.slot_due_at is None or plan.slot_due_at > now),
        "waits": _waits(plan, until, now),
        "work": None if choice is None else choice.work.value,
        "id_kind": None if choice is None else choice.id_kind.value,
        "order_count": len(plan.orders),
        "orders": [_line(order, pick, now, rules) for order, pick in plan.orders[:limit]],
    }


def _waits(plan: Plan, backs_off_until: datetime | None, now: datetime) -> str | None:
    """Why no query may be sent now, and until when; None where one may."""
    state = plan.state
    if state.paused_at is not None and state.is_paused(now):
        return pause_in_words(state.paused_at, state.paused_until, state.paused_by, state.pause_reason)
    if plan.slot_due_at is None:
        return "no worker has run on this database yet"
    until = max(backs_off_until or now, plan.slot_due_at)
    if until <= now:
        return None
    why = "the account backs off" if backs_off_until == until else "the window of the last query runs"
    return f"{why} until {time_text(until)}, {duration_text((until - now).total_seconds())} more"


def _line(order: Order, pick: Pick | None, now: datetime, rules: Rules) -> dict[str, Any]:
    age = (now - order.submitted_at).total_seconds()
    polled = None if order.queried_at is None else (now - order.queried_at).total_seconds()
    return {
        "id": order.id,
        "request_id": order.request_id,
        "custom_parm": order.custom_parm,
        "submitted_at": order.submitted_at,
        "age_seconds": round(age, 3),
        "queried_at": order.queried_at,
        "since_last_poll_seconds": None if polled is None else round(polled, 3),
        "due_at": order.due_at,
        "priority_seconds": None if pick is None else round(pick.priority, 3),
        "reason": "suspects" if pick is None else pick.reason.value,
        "in_words": reason_in_words(order, pick, now, rules),
    }


def reason_in_words(order: Order, pick: Pick | None, now: datetime, rules: Rules) -> str:
    """Why an order is in the next query, in words."""
    if pick is None:
        return "suspect: it is polled with its group only"
    match pick.reason:
        case Reason.CHECKED:
            return "a check was requested"
        case Reason.LONGEST_DUE:
            return f"due for longest: {duration_text((now - order.due_at).total_seconds())}"
        case Reason.SPARE:
            polled = (now - (order.queried_at or order.submitted_at)).total_seconds()
            return f"not due, in a position that is free: polled {duration_text(polled)} ago"
        case Reason.ALONE:
            return "its turn to be polled alone"
        case Reason.PRIORITY:
            priority = f"a poll saves {duration_text(pick.priority)} of delay"
            if order.queried_at is not None:
                return f"polled {duration_text((now - order.queried_at).total_seconds())} ago: {priority}"
            past = (now - order.submitted_at).total_seconds() - rules.grace_seconds
            return f"never polled, {duration_text(past)} past its grace: {priority}"


def _print_plan(response: Mapping[str, Any]) -> None:
    out = console()
    if response["waits"]:
        typer.echo(f"{response['account']}: not now: {response['waits']}.")
    if not response["orders"]:
        typer.echo(f"{response['account']}: no order is due.")
        return
    shown, count = len(response["orders"]), response["order_count"]
    title = f"{response['account']}: {response['work']} by {response['id_kind']}, {counted(count, 'order')}"
    if shown < count:
        title += f", the first {shown:,} of them"
    rows = [_row(line) for line in response["orders"]]
    print_table(out, _COLUMNS, rows, title=title, ids=("order",), long_texts=("reason",))


def _row(line: Mapping[str, Any]) -> dict[str, object]:
    polled, priority = line["since_last_poll_seconds"], line["priority_seconds"]
    return {
        "id": line["id"],
        "order": line["request_id"] or line["custom_parm"],
        "age": duration_text(line["age_seconds"]),
        "last_poll": "never" if polled is None else f"{duration_text(polled)} ago",
        "priority": None if not priority else duration_text(priority),
        "reason": line["in_words"],
    }
