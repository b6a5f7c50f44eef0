"""`reconciler order`: one order's row, what happened to it, the queries that polled it, and what happens next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import typer

from worker.adapters.error_text import one_line
from worker.cli.errors import CommandError
from worker.cli.notifications import table_row
from worker.cli.order_references import Account, Reference, Row, find_orders
from worker.cli.output import (
    AsJson,
    InUtc,
    console,
    counted,
    duration_text,
    pause_in_words,
    print_fields,
    print_json,
    print_table,
    time_text,
)
from worker.cli.session import session
from worker.domain.records.parameters import Rules
from worker.domain.watching.next_step import Step, Wait
from worker.domain.watching.workers import tick_allowance
from worker.runtime import rules_of, sids_of
from worker.views.order import Outlook, Story, read_story

_EVENT_COLUMNS = ("at", "kind", "source", "query", "change", "said")
_QUERY_COLUMNS = ("id", "sent_at", "outcome", "orders", "this_order")
_TOLD_COLUMNS = ("id", "type", "changed_at", "state", "tries", "due_at", "outcome", "delivered_at", "answer")
# What others have said, of any length.
_NOTES = ("said", "outcome", "answer")


def order(ref: Reference, account: Account = "default", utc: InUtc = False, as_json: AsJson = False) -> None:
    """Show one order: what happens to it next, why not yet and when, its row, history, queries and notifications.

    Amounts are yuan.

    Examples:
      reconciler order 2016010000000219
      reconciler order A-1001 --account shop
      reconciler order id:42
    """
    with session(utc=utc or as_json) as opened:
        found = find_orders(opened, account, [ref])[ref]
        if isinstance(found, str):
            raise CommandError(found)
        rules, sids = rules_of(opened.settings), sids_of(opened.settings)
        allowance = tick_allowance(opened.settings.check_tick_seconds, opened.settings.tick_seconds)
        story = read_story(opened.database, found, sids, allowance, rules)
    if as_json:
        following = None if story.outlook is None else to_response(story.outlook, rules)
        told = {"events": story.events, "queries": story.queries, "notifications": story.notifications}
        print_json({"order": story.order, "next": following, **told})
    else:
        _show_order(story, rules)


def _show_order(story: Story, rules: Rules) -> None:
    outlook, events, queries = story.outlook, story.events, story.queries
    out = console()
    print_fields(out, story.order)
    out.print()
    if outlook is None:
        typer.echo("It is in the archive: nobody asks about it, and it is restored when a task names it.")
    else:
        typer.echo(polled_in_words(outlook))
        for step in outlook.next_step.steps:
            typer.echo(f"- {in_words(step, outlook, rules)}.")
    for title, columns, rows in (
        ("Events", _event_columns(events), [_event_row(event) for event in events]),
        ("Queries that polled it", _QUERY_COLUMNS, [_query_row(query) for query in queries]),
        ("Notifications of it", _TOLD_COLUMNS, [table_row(one) for one in story.notifications]),
    ):
        out.print()
        if rows:
            print_table(out, columns, rows, title=title, long_texts=_NOTES)
        else:
            out.print(f"{title}: none yet.")


def _event_columns(events: Sequence[Row]) -> Sequence[str]:
    # Few orders have been acted on by hand.
    by = ("by",) if any(event["actor"] for event in events) else ()
    return (*_EVENT_COLUMNS[:3], *by, *_EVENT_COLUMNS[3:])


def _event_row(event: Row) -> dict[str, object]:
    before, after = event["from_state"], event["to_state"]
    said = [event[name] for name in ("traffic_sts", "ori_amount", "remark", "detail") if event[name] is not None]
    if event["repeats"]:
        said.append(f"said {event['repeats']} times more")
    change = f"{before} > {after}" if before != after and before is not None else None
    return {**event, "by": event["actor"], "query": event["query_id"], "change": change, "said": " | ".join(said)}


def _query_row(query: Row) -> dict[str, object]:
    answer = [str(query[name]) for name in ("http_status", "status_code", "status_msg") if query[name] is not None]
    how = f"{query['outcome']} ({' '.join(answer)})" if answer and query["outcome"] != "answered" else query["outcome"]
    this_order = "left out" if query["absent"] else "was answered" if query["outcome"] == "answered" else None
    return {**query, "outcome": how, "orders": query["order_count"], "this_order": this_order}


_WORDS = {
    Wait.FINAL: "it is final: nobody asks about it any more, and what the platform says later is only recorded",
    Wait.CANCELLED: "it is cancelled: nobody asks about it any more",
    Wait.UNRESOLVED: "asking has stopped, and a person decides: `reconciler resolve` or `reconciler reopen`;"
    " a callback still settles it",
    Wait.IN_FLIGHT: "a query about it is under way; should no answer come, it may be polled again from {until} on",
    Wait.GRACE: "its callback is waited for until {until} (RECONCILER_CALLBACK_GRACE_SECONDS)",
    Wait.NOT_DUE: "an answer found it still open, and the next poll is due {until}: an earlier one would bring little",
    Wait.NOT_CONFIGURED: "the settings do not name its account: nobody asks about its orders",
    Wait.NOT_SERVED: "no running worker has this account: add it to the settings of the workers, and restart them",
    Wait.NO_WORKER: "no worker runs: start one with `reconciler run`",
    Wait.BACK_OFF: "the account backs off until {until}, as the last query failed; `reconciler status` shows how",
    Wait.BUDGET: "the budget is used up until {until}: the platform allows {budget}",
    Wait.APART: "it is polled apart from the others: queries with it failed, or answers left it out",
    Wait.NEXT_QUERY: "the next query includes it",
    Wait.QUEUE: "{others} may be polled before it, {per_query} a query, {budget}",
}
_UNTOLD = {Wait.FINAL, Wait.CANCELLED, Wait.UNRESOLVED}


def to_response(outlook: Outlook, rules: Rules) -> dict[str, Any]:
    """What happens next, as JSON."""
    following = outlook.next_step
    return {
        "polled_at": following.polled_at,
        "is_at_the_earliest": following.is_at_the_earliest,
        "in_words": polled_in_words(outlook),
        "why": [
            {
                "wait": step.wait.value,
                "until": step.until,
                "orders_before": step.count,
                "in_words": in_words(step, outlook, rules),
            }
            for step in following.steps
        ],
    }


def polled_in_words(outlook: Outlook) -> str:
    """When it is polled next, as a sentence."""
    following, now = outlook.next_step, outlook.now
    if any(step.wait in _UNTOLD for step in following.steps):
        return "Next: nothing."
    if any(step.wait is Wait.IN_FLIGHT for step in following.steps):
        return "Next: the answer of a query that includes it."
    if following.polled_at is None:
        return "Next: a poll, but when cannot be told."
    bound = "at the earliest" if following.is_at_the_earliest else "or as soon as a worker ticks"
    return f"Next: a poll, {_at(following.polled_at, now)}, {bound}."


def in_words(step: Step, outlook: Outlook, rules: Rules) -> str:
    """One reason to wait, as a sentence without its full stop."""
    state = outlook.state
    if step.wait is Wait.PAUSED and state.paused_at is not None:
        words = pause_in_words(state.paused_at, state.paused_until, state.paused_by, state.pause_reason)
        return f"the account is {words} (`reconciler resume {one_line(state.account)}` ends it)"
    return _WORDS[step.wait].format(
        until="" if step.until is None else _at(step.until, outlook.now),
        budget=f"{_queries(rules.slots)} in {rules.spacing_seconds:g} s",
        others=counted(step.count or 0, "other due order"),
        per_query=step.per_query,
    )


def _queries(count: int) -> str:
    return "one query" if count == 1 else f"{count:,} queries"


def _at(time: datetime, now: datetime) -> str:
    wait = (time - now).total_seconds()
    return f"{time_text(time)} (in {duration_text(wait)})" if wait > 0 else "now"
