"""`reconciler order`: one order's history."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.cli.errors import CommandError
from worker.cli.output import AsJson, console, print_json
from worker.cli.references import Account, Reference, find_orders
from worker.cli.table import print_fields, print_table

_EVENT_COLUMNS = ("at", "kind", "source", "query", "change", "said")
# What others have said, of any length.
_NOTES = ("said", "outcome")
_QUERY_COLUMNS = ("id", "sent_at", "outcome", "orders", "this_order")


def order(ref: Reference, account: Account = "default", as_json: AsJson = False) -> None:
    """Show one order: its row, everything that happened to it, and the queries that polled it.

    Amounts are yuan, times are UTC.
    """
    from worker.cli.session import session
    from worker.stores.command_line_reads import events_of, queries_about

    with session() as opened:
        found = find_orders(opened, account, [ref])[ref]
        if isinstance(found, str):
            raise CommandError(found)
        with opened.database.snapshot() as connection:
            events, queries = events_of(connection, found["id"]), queries_about(connection, found)
    if as_json:
        print_json({"order": found, "events": events, "queries": queries})
    else:
        _show(found, events, queries)


def _show(row: Mapping[str, Any], events: Sequence[Mapping[str, Any]], queries: Sequence[Mapping[str, Any]]) -> None:
    out = console()
    print_fields(out, row)
    if row["archived_at"] is not None:
        out.print("It is in the archive: whoever names it to the worker brings it back.")
    for title, columns, rows in (
        ("Events", _EVENT_COLUMNS, [_event_row(event) for event in events]),
        ("Queries that polled it", _QUERY_COLUMNS, [_query_row(query) for query in queries]),
    ):
        out.print()
        if rows:
            print_table(out, columns, rows, title=title, notes=_NOTES)
        else:
            out.print(f"{title}: none yet.")


def _event_row(event: Mapping[str, Any]) -> dict[str, object]:
    before, after = event["from_state"], event["to_state"]
    said = [event[name] for name in ("traffic_sts", "ori_amount", "remark", "detail") if event[name] is not None]
    change = f"{before} > {after}" if before != after and before is not None else None
    return {**event, "query": event["query_id"], "change": change, "said": " | ".join(said)}


def _query_row(query: Mapping[str, Any]) -> dict[str, object]:
    answer = [str(query[name]) for name in ("http_status", "status_code", "status_msg") if query[name] is not None]
    how = f"{query['outcome']} ({' '.join(answer)})" if answer and query["outcome"] != "answered" else query["outcome"]
    this_order = "left out" if query["absent"] else "was answered" if query["outcome"] == "answered" else None
    return {**query, "outcome": how, "orders": query["order_count"], "this_order": this_order}
