"""`reconciler queries` and `query`: what was asked of the platform, and what came of it."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from worker.cli.declare import one_of
from worker.cli.errors import CommandError
from worker.cli.listing import AsCsv, Listing, Paged, require_one_format, write_csv
from worker.cli.output import AsJson, InUtc, console, print_fields, print_json, print_table
from worker.cli.session import OneAccount, require_known, session
from worker.cli.times import TIME_RULE
from worker.domain.records import csv_columns
from worker.domain.records.queries import OUTCOMES
from worker.views.queries import read_query, recent_queries

Row = dict[str, Any]

_ORDER_COLUMNS = ("order", "id", "state", "attention", "answer")


def _read_outcomes(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        if value not in OUTCOMES:
            raise typer.BadParameter(f"{value!r} is not one of: {', '.join(OUTCOMES)}")
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


def queries(
    account: OneAccount = None,
    outcome: Outcomes = None,
    since: Since = None,
    *,
    page: Paged,
) -> None:
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


def query(query_id: QueryId, utc: InUtc = False, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Show one query: the orders that it polled, what the answer left out or added, and the start of the answer.

    With --csv: its orders.

    Examples:
      reconciler query 1234
      reconciler query 1234 --json
    """
    require_one_format(as_json, as_csv)
    with session(utc=utc) as opened, opened.database.snapshot() as connection:
        found = read_query(connection, query_id)
    if found is None:
        raise CommandError(f"there is no query {query_id}; `reconciler queries` lists the newest ones")
    if as_json:
        print_json({"query": found.query, "orders": found.orders, "added_items": found.added})
    elif as_csv:
        write_csv(csv_columns.POLLED_ORDERS, found.orders)
    else:
        _show_query(found.query, found.orders, found.added)


def _show_query(found: Mapping[str, object], orders: list[Row], added: list[str]) -> None:
    out = console()
    print_fields(out, {name: value for name, value in found.items() if name != "answer_excerpt"})
    out.print()
    is_answered = found["outcome"] == "answered"
    rows = [
        {
            "order": order["polled_id"],
            "id": "gone" if order["id"] is None else f"id:{order['id']}",
            "state": order["state"],
            "attention": order["attention"],
            "answer": "left out" if order["absent"] else "in it" if is_answered else None,
        }
        for order in orders
    ]
    print_table(out, _ORDER_COLUMNS, rows, title="Orders that it polled, as they stand now", ids=("order", "id"))
    if added:
        rows = [{"item": item} for item in added]
        print_table(out, ("item",), rows, title="Items about orders that it did not poll")
    if found["answer_excerpt"]:
        print_table(out, ("answer",), [{"answer": found["answer_excerpt"]}], title="The start of the answer")


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
    none="No such queries.",
    csv=csv_columns.QUERIES,
    columns=("id", "account", "sent_at", "outcome", "orders", "settled", "pending", "absent", "said"),
    table_row=_table_row,
    long_texts=("said",),
    hint=". One query with its orders: reconciler query ID",
)
