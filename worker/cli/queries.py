"""`reconciler queries`, `query` and `plan`: what was asked of the platform, what came of it, and what is asked next."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from worker.cli.app import CommandError
from worker.cli.declare import WrongUse, one_of
from worker.cli.listing import Form, Listing, Paged, write_csv
from worker.cli.output import (
    AsJson,
    InUtc,
    console,
    counted,
    duration_text,
    in_words,
    outcome_name,
    pause_in_words,
    print_fields,
    print_json,
    print_table,
    say,
    text,
    time_text,
)
from worker.cli.session import Accounts, OneAccount, require_configured, require_known, session
from worker.cli.times import TIME_RULE
from worker.domain.records import csv_columns
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.orders import Order
from worker.domain.records.queries import OUTCOMES, Pick, Reason
from worker.domain.records.sentences import Sentence, _
from worker.settings.rules import rules_of
from worker.views.queries import Plan, WholeQuery, read_plans, read_query, recent_queries

Row = dict[str, Any]

_PLAN_COLUMNS = ("id", "order", "age", "last_poll", "priority", "reason")
_ORDER_COLUMNS = ("order", "id", "state", "attention", "answer")


def _read_outcomes(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        if value not in OUTCOMES:
            raise WrongUse("%(value)r is not one of: %(words)s", value, ", ".join(OUTCOMES))
    return values


Outcomes = Annotated[
    list[str] | None,
    typer.Option(
        "--outcome",
        help=f"Only queries that ended so; may be repeated: {', '.join(OUTCOMES)}.",
        callback=_read_outcomes,
        autocompletion=one_of(OUTCOMES),
    ),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"Only queries that were sent then or later: {TIME_RULE}.")
]
QueryId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The query's id, as `reconciler queries` shows it.")]
Most = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="How many orders to show at most; all, if not given.")
]


def queries(account: OneAccount = None, outcome: Outcomes = None, since: Since = None, *, page: Paged) -> None:
    """Show the queries that were sent to the platform, newest first, and how each ended.

    What each outcome means is told in docs/running.md, "Are queries going out?".

    Examples:
      reconciler queries
      reconciler queries --account shop --outcome refused --outcome timeout --since 1d
    """
    with page.session() as opened:
        require_known(opened, [account] if account else [])
        start = opened.time_of("--since", since)
        with opened.database.snapshot() as connection:
            read = partial(recent_queries, connection, account=account, outcomes=outcome or (), since=start)
            found = page.read(_QUERIES, read)
    page.show(_QUERIES, found)


def query(query_id: QueryId, utc: InUtc = False, *, form: Form) -> None:
    """Show one query: the orders that it polled, what the answer left out or added, and the start of the answer.

    With --csv: its orders.

    Examples:
      reconciler query 1234
      reconciler query 1234 --json
    """
    with session(utc=utc) as opened, opened.database.snapshot() as connection:
        found = read_query(connection, query_id)
    if found is None:
        raise CommandError("there is no query %(query)s; `reconciler queries` lists the newest ones", query_id)
    if form.as_json:
        print_json({"query": found.query, "orders": found.orders, "added_items": found.added})
    elif form.as_csv:
        write_csv(csv_columns.POLLED_ORDERS, found.orders)
    else:
        show_query(found)


def show_query(whole: WholeQuery) -> None:
    """Print a query for a person."""
    out, found, orders, added = console(), whole.query, whole.orders, whole.added
    named = {"work": text(found["work"]), "outcome": outcome_name(found["outcome"])}
    print_fields(out, {name: value for name, value in {**found, **named}.items() if name != "answer_excerpt"})
    out.print()
    is_answered = found["outcome"] == "answered"
    rows = [
        {
            "order": order["polled_id"],
            "id": text("gone") if order["id"] is None else f"id:{order['id']}",
            "state": order["state"],
            "attention": order["attention"],
            "answer": text("left out") if order["absent"] else text("in it") if is_answered else None,
        }
        for order in orders
    ]
    print_table(out, _ORDER_COLUMNS, rows, title=text("Orders that it polled, as they stand now"), ids=("order", "id"))
    if added:
        rows = [{"item": item} for item in added]
        print_table(out, ("item",), rows, title=text("Items about orders that it did not poll"))
    if found["answer_excerpt"]:
        print_table(out, ("answer",), [{"answer": found["answer_excerpt"]}], title=text("The start of the answer"))


def _table_row(row: Row) -> dict[str, object]:
    said = " ".join(str(part) for part in (row["http_status"], row["status_code"], row["status_msg"]) if part)
    return {
        **row,
        "orders": f"{row['order_count']} ({row['spare_count']} spare)" if row["spare_count"] else row["order_count"],
        "settled": row["settled_count"],
        "pending": row["pending_count"],
        "absent": row["absent_count"],
        "said": said,
    }


def plan(account: Accounts = None, limit: Most = None, utc: InUtc = False, as_json: AsJson = False) -> None:
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
        plans = [_plan(one, now, rules, limit) for one in read]
    if as_json:
        print_json({"now": now, "accounts": plans})
    else:
        for one in plans:
            _print_plan(one)


def _plan(plan: Plan, now: datetime, rules: Rules, limit: int | None) -> dict[str, Any]:
    choice, state = plan.choice, plan.state
    until = state.backoff_until if state.is_backed_off(now) else None
    pause = state.pause(now)
    return {
        "account": state.account,
        "paused_at": pause and pause.paused_at,
        "paused_until": pause and pause.paused_until,
        "backs_off_until": until,
        "slot_due_at": plan.slot_due_at,
        "may_query_now": not (pause or until or plan.slot_due_at is None or plan.slot_due_at > now),
        "waits": waits_in_words(state, plan.slot_due_at, now),
        "work": None if choice is None else choice.work.value,
        "id_kind": None if choice is None else choice.id_kind.value,
        "order_count": len(plan.orders),
        "orders": [_planned(order, pick, now, rules) for order, pick in plan.orders[:limit]],
    }


def waits_in_words(state: AccountState, slot_due_at: datetime | None, now: datetime) -> str | None:
    """Why no query may be sent now, and until when; None where one may."""
    backs_off_until = state.backoff_until if state.is_backed_off(now) else None
    if pause := state.pause(now):
        return pause_in_words(pause)
    if slot_due_at is None:
        return text("no worker has run on this database yet")
    until = max(backs_off_until or now, slot_due_at)
    if until <= now:
        return None
    why = text("the account backs off") if backs_off_until == until else text("the window of the last query runs")
    return text("%(why)s until %(until)s, %(lasts)s more", why, time_text(until), until - now)


def _planned(order: Order, pick: Pick | None, now: datetime, rules: Rules) -> dict[str, Any]:
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


def reason_in_words(order: Order, pick: Pick | None, now: datetime, rules: Rules) -> Sentence:
    """Why an order is in the next query."""
    if pick is None:
        return _("suspect: it is polled with its group only")
    match pick.reason:
        case Reason.CHECKED:
            return _("a check was requested")
        case Reason.LONGEST_DUE:
            return _("due for longest: %(lasts)s", duration_text((now - order.due_at).total_seconds()))
        case Reason.SPARE:
            polled = (now - (order.queried_at or order.submitted_at)).total_seconds()
            return _("not due, in a position that is free: polled %(lasts)s ago", duration_text(polled))
        case Reason.ALONE:
            return _("its turn to be polled alone")
        case Reason.PRIORITY:
            priority = _("a poll saves %(lasts)s of delay", duration_text(pick.priority))
            if order.queried_at is not None:
                polled = (now - order.queried_at).total_seconds()
                return _("polled %(lasts)s ago: %(why)s", duration_text(polled), priority)
            past = (now - order.submitted_at).total_seconds() - rules.grace_seconds
            return _("never polled, %(lasts)s past its grace: %(why)s", duration_text(past), priority)


def _print_plan(response: Mapping[str, Any]) -> None:
    out = console()
    if response["waits"]:
        say("%(account)s: not now: %(why)s.", response["account"], response["waits"])
    if not response["orders"]:
        say("%(account)s: no order is due.", response["account"])
        return
    shown, count = len(response["orders"]), response["order_count"]
    orders = counted(count, "order")
    title = text(
        "%(account)s: %(work)s by %(kind)s, %(orders)s",
        response["account"],
        text(response["work"]),
        response["id_kind"],
        orders,
    )
    if shown < count:
        title += text(", the first %(count)s of them", shown)
    rows = [_plan_row(line) for line in response["orders"]]
    print_table(out, _PLAN_COLUMNS, rows, title=title, ids=("order",), long_texts=("reason",))


def _plan_row(line: Mapping[str, Any]) -> dict[str, object]:
    polled, priority = line["since_last_poll_seconds"], line["priority_seconds"]
    return {
        "id": line["id"],
        "order": line["request_id"] or line["custom_parm"],
        "age": duration_text(line["age_seconds"]),
        "last_poll": text("never") if polled is None else text("%(lasts)s ago", duration_text(polled)),
        "priority": None if not priority else duration_text(priority),
        "reason": in_words(line["in_words"]),
    }


_QUERIES = Listing(
    rows="queries",
    none=_("No such queries."),
    csv=csv_columns.QUERIES,
    columns=("id", "account", "sent_at", "outcome", "orders", "settled", "pending", "absent", "said"),
    table_row=_table_row,
    long_texts=("said",),
    hint=_(". One query with its orders: reconciler query ID"),
)
