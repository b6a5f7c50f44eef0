"""`reconciler order`: one order's row, what happened to it, the queries that polled it, and what happens next."""

from collections.abc import Sequence

import typer

from worker.cli.errors import CommandError
from worker.cli.notifications import table_row
from worker.cli.order_next import in_words, polled_in_words, to_response
from worker.cli.order_references import Account, Reference, Row, find_orders
from worker.cli.output import AsJson, InUtc, console, print_fields, print_json, print_table
from worker.cli.session import session
from worker.domain.records.parameters import Rules
from worker.domain.workers import tick_allowance
from worker.runtime import rules_of, sids_of
from worker.views.order import Story, read_story

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
