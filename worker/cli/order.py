"""`reconciler order`: one order's row, what happened to it, the queries that polled it, and what happens next."""

from collections.abc import Sequence
from typing import Any

import typer

from worker.cli.errors import CommandError
from worker.cli.notifications import table_row
from worker.cli.orders import Account, Reference, Row, named_orders
from worker.cli.output import (
    SKIN,
    AsJson,
    InUtc,
    console,
    print_fields,
    print_json,
    print_table,
)
from worker.cli.session import session
from worker.domain.records.accounts import Rules
from worker.domain.watching.workers import tick_allowance
from worker.runtime import rules_of, sids_of
from worker.views.order import Outlook, Story, read_story
from worker.words.events import with_times
from worker.words.next_step import ARCHIVED, next_in_words, wait_in_words

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
        found = named_orders(opened, account, [ref])[ref]
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
        typer.echo(ARCHIVED)
    else:
        typer.echo(f"Next: {next_in_words(outlook.next_step, outlook.now, SKIN)}")
        for step in outlook.next_step.steps:
            typer.echo(f"- {wait_in_words(step, outlook.state, outlook.now, rules, SKIN)}")
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
    parts = [*(event[name] for name in ("traffic_sts", "ori_amount", "remark")), with_times(event["detail"], SKIN)]
    said = [part for part in parts if part is not None]
    if event["repeats"]:
        said.append(f"said {event['repeats']} times more")
    change = f"{before} > {after}" if before != after and before is not None else None
    return {**event, "by": event["actor"], "query": event["query_id"], "change": change, "said": " | ".join(said)}


def _query_row(query: Row) -> dict[str, object]:
    answer = [str(query[name]) for name in ("http_status", "status_code", "status_msg") if query[name] is not None]
    how = f"{query['outcome']} ({' '.join(answer)})" if answer and query["outcome"] != "answered" else query["outcome"]
    this_order = "left out" if query["absent"] else "was answered" if query["outcome"] == "answered" else None
    return {**query, "outcome": how, "orders": query["order_count"], "this_order": this_order}


def to_response(outlook: Outlook, rules: Rules) -> dict[str, Any]:
    """What happens next, as JSON."""
    following = outlook.next_step
    return {
        "polled_at": following.polled_at,
        "is_at_the_earliest": following.is_at_the_earliest,
        "in_words": next_in_words(following, outlook.now, SKIN),
        "why": [
            {
                "wait": step.wait.value,
                "until": step.until,
                "orders_before": step.count,
                "in_words": wait_in_words(step, outlook.state, outlook.now, rules, SKIN),
            }
            for step in following.steps
        ],
    }
