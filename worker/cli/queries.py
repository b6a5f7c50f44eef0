"""`reconciler queries` and `query`: the queries that were sent to the platform, and their results."""

from functools import partial
from typing import Annotated, Any

import typer

from worker.cli.app import CommandError
from worker.cli.declare import WrongUse
from worker.cli.listing import Listing, Paged
from worker.cli.output import AsJson, console, outcome_name, print_fields, print_json, print_table, text
from worker.cli.session import OneAccount, require_known, session
from worker.cli.times import TIME_RULE
from worker.domain.records import csv_columns
from worker.domain.records.queries import OUTCOMES
from worker.domain.records.sentences import _
from worker.views.queries import WholeQuery, read_query, recent_queries

Row = dict[str, Any]

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
    ),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"Only queries that were sent then or later: {TIME_RULE}.")
]
QueryId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The query's id, as `reconciler queries` shows it.")]


def queries(account: OneAccount = None, outcome: Outcomes = None, since: Since = None, *, page: Paged) -> None:
    """Show the queries that were sent to the platform, newest first, and how each ended.

    docs/running.md, "Are queries going out?", explains each outcome.

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


def query(query_id: QueryId, as_json: AsJson = False) -> None:
    """Show one query: the orders that it polled, those that the answer left out or added, and the answer's start.

    Examples:
      reconciler query 1234
      reconciler query 1234 --json
    """
    with session() as opened, opened.database.snapshot() as connection:
        found = read_query(connection, query_id)
    if found is None:
        raise CommandError("there is no query %(query)s; `reconciler queries` lists the newest ones", query_id)
    if as_json:
        print_json({"query": found.query, "orders": found.orders, "added_items": found.added})
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


_QUERIES = Listing(
    rows="queries",
    none=_("No such queries."),
    csv=csv_columns.QUERIES,
    columns=("id", "account", "sent_at", "outcome", "orders", "settled", "pending", "absent", "said"),
    table_row=_table_row,
    long_texts=("said",),
    hint=_(". One query with its orders: reconciler query ID"),
)
