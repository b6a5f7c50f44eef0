"""`reconciler order`: one order's row, what happened to it, the queries that polled it, and what happens next."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from worker.cli.errors import CommandError
from worker.cli.notifications import notification_row, table_row
from worker.cli.order_next import in_words, polled_in_words, to_response
from worker.cli.order_references import Account, Reference, Row, find_orders
from worker.cli.output import AsJson, InUtc, console, print_fields, print_json, print_table
from worker.domain.records.orders import OrderState

if TYPE_CHECKING:
    from worker.cli.session import Session
    from worker.domain.records.parameters import Rules
    from worker.operations.read_overview import Outlook

_EVENT_COLUMNS = ("at", "kind", "source", "query", "change", "said")
_QUERY_COLUMNS = ("id", "sent_at", "outcome", "orders", "this_order")
_TOLD_COLUMNS = ("id", "type", "changed_at", "state", "tries", "due_at", "outcome", "delivered_at", "answer")
# What others have said, of any length.
_NOTES = ("said", "outcome", "answer")


def order(ref: Reference, account: Account = "default", utc: InUtc = False, as_json: AsJson = False) -> None:
    """Show one order: what happens to it next, why not yet and when, its row, history, queries and notifications.

    Amounts are yuan.
    """
    from worker.cli.session import session
    from worker.runtime import rules_of
    from worker.stores.command_line_reads import events_of, queries_about
    from worker.stores.notification_rows import notifications_of

    with session(utc=utc or as_json) as opened:
        found = find_orders(opened, account, [ref])[ref]
        if isinstance(found, str):
            raise CommandError(found)
        with opened.database.snapshot() as connection:
            events, queries = events_of(connection, found["id"]), queries_about(connection, found)
            told = [notification_row(one) for one in notifications_of(connection, [found["id"]])]
        outlook, rules = _outlook(opened, found), rules_of(opened.settings)
    if found["state"] is not OrderState.PENDING:
        # What stands there is what was planned before: nobody polls it any more.
        found = {**found, "due_at": None}
    if as_json:
        following = None if outlook is None else to_response(outlook, rules)
        print_json({"order": found, "next": following, "events": events, "queries": queries, "notifications": told})
    else:
        _show_order(found, outlook, rules, events, queries, told)


def _outlook(opened: "Session", row: Row) -> "Outlook | None":
    from worker.domain.monitoring import tick_allowance
    from worker.operations.read_overview import read_next_step
    from worker.runtime import rules_of

    settings = opened.settings
    configured = settings.accounts.get(row["account"])
    return read_next_step(
        opened.database,
        row["id"],
        None if configured is None else configured.account_sid,
        tick_allowance(settings.check_tick_seconds, settings.tick_seconds),
        rules_of(settings),
    )


def _show_order(
    row: Row,
    outlook: "Outlook | None",
    rules: "Rules",
    events: Sequence[Row],
    queries: Sequence[Row],
    told: Sequence[Mapping[str, object]],
) -> None:
    out = console()
    print_fields(out, row)
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
        ("Notifications of it", _TOLD_COLUMNS, [table_row(one) for one in told]),
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
