"""`reconciler order` and `check`: what happened to an order, and which are polled next.

A person names an order by request_id, by custom_parm, or by the row's id.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.cli.errors import CommandError
from worker.cli.output import AsJson, InUtc, console, counted, print_fields, print_json, print_table
from worker.domain.field_rules import id_fault, order_id_fault

if TYPE_CHECKING:
    from worker.cli.session import Session

Row = dict[str, Any]

_EVENT_COLUMNS = ("at", "kind", "source", "query", "change", "said")
_QUERY_COLUMNS = ("id", "sent_at", "outcome", "orders", "this_order")
# What others have said, of any length.
_NOTES = ("said", "outcome")
_ROW_ID = re.compile(r"id:([0-9]{1,18})")
_CHECKED_AT_ONCE = 500
_REF_HELP = "A request_id or a custom_parm; or id:N, by the row's id, which needs no --account."


Account = Annotated[str, typer.Option(help="The account that the orders belong to.")]
Reference = Annotated[str, typer.Argument(metavar="REF", help=_REF_HELP)]
References = Annotated[list[str], typer.Argument(metavar="REF...", help=_REF_HELP)]


def order(ref: Reference, account: Account = "default", utc: InUtc = False, as_json: AsJson = False) -> None:
    """Show one order: its row, everything that happened to it, and the queries that polled it.

    Amounts are yuan.
    """
    from worker.cli.session import session
    from worker.stores.command_line_reads import events_of, queries_about

    with session(utc=utc) as opened:
        found = _find_orders(opened, account, [ref])[ref]
        if isinstance(found, str):
            raise CommandError(found)
        with opened.database.snapshot() as connection:
            events, queries = events_of(connection, found["id"]), queries_about(connection, found)
    if as_json:
        print_json({"order": found, "events": events, "queries": queries})
    else:
        _show_order(found, events, queries)


def check(refs: References, account: Account = "default", as_json: AsJson = False) -> None:
    """Poll these orders next, within the same budget; what is not pending is refused.

    Exit status 1 when one was refused.
    """
    from worker.cli.session import session
    from worker.intake import Intake
    from worker.runtime import app_ids_of, rules_of

    refused: list[dict[str, Any]] = []
    queued = 0
    with session(needs_accounts=True) as opened:
        intake = Intake(opened.database, rules_of(opened.settings), app_ids_of(opened.settings))
        for start in range(0, len(refs), _CHECKED_AT_ONCE):
            found = _find_orders(opened, account, refs[start : start + _CHECKED_AT_ONCE])
            # By the row: an order that is named by both its ids is polled once.
            known = {row["id"]: (ref, row) for ref, row in found.items() if not isinstance(row, str)}
            refused.extend({"ref": ref, "errors": [why]} for ref, why in found.items() if isinstance(why, str))
            if known:
                named = [_reference(row) for _, row in known.values()]
                answer: Any = intake.check_orders(named, source="reconciler check")
                queued += answer["queued"]
                refs_asked = [ref for ref, _ in known.values()]
                refused.extend({"ref": refs_asked[one["index"]], "errors": one["errors"]} for one in answer["rejected"])
    if as_json:
        print_json({"queued": queued, "rejected": refused})
    else:
        for one in refused:
            typer.echo(f"Refused: {one_line(one['ref'])}: {one_line('; '.join(one['errors']))}", err=True)
        typer.echo(f"{counted(queued, 'order')} will be polled next.")
    raise typer.Exit(1 if refused else 0)


def _find_orders(opened: "Session", account: str, references: Sequence[str]) -> dict[str, Row | str]:
    """For each reference the order that it names; or why it names none, as a line that says what to do.

    Raises CommandError for an account that nobody knows, where a reference needs one.
    """
    from worker.cli.session import require_known
    from worker.stores.command_line_reads import order_by_id, orders_named

    row_ids = {reference: found[1] for reference in references if (found := _ROW_ID.fullmatch(reference))}
    names = [reference for reference in references if reference not in row_ids]
    if names:
        require_known(opened, [account])
    # An order may be moved to the archive or back meanwhile: it is looked for in both tables.
    with opened.database.snapshot() as connection:
        rows = orders_named(connection, account, names) if names else []
        by_id = {reference: order_by_id(connection, int(row_id)) for reference, row_id in row_ids.items()}
    return {
        reference: (by_id[reference] or f"there is no order {reference}; `reconciler orders` lists the newest ones")
        if reference in by_id
        else _only(reference, account, rows)
        for reference in references
    }


def _only(reference: str, account: str, rows: Sequence[Row]) -> Row | str:
    named = [row for row in rows if reference in (row["request_id"], row["custom_parm"])]
    shown = one_line(reference)
    if len(named) == 1:
        return named[0]
    if named:
        listed = " and ".join(f"id:{row['id']}" for row in named)
        return f"{shown} names two orders, {listed}: use one of these"
    # What cannot be an id at all is only not there; a rewritten one looks like an id to whoever copied it.
    if id_fault(reference) is None and (fault := order_id_fault(reference)):
        return fault
    return f"there is no order {shown} in the account {one_line(account)}; enqueue it first, or give its --account"


def _reference(row: Row) -> dict[str, object]:
    kind = "request_id" if row["request_id"] is not None else "custom_parm"
    return {"account": row["account"], kind: row[kind]}


def _show_order(row: Row, events: Sequence[Row], queries: Sequence[Row]) -> None:
    out = console()
    print_fields(out, row)
    if row["archived_at"] is not None:
        out.print("It is in the archive: it is restored when a task names it.")
    for title, columns, rows in (
        ("Events", _EVENT_COLUMNS, [_event_row(event) for event in events]),
        ("Queries that polled it", _QUERY_COLUMNS, [_query_row(query) for query in queries]),
    ):
        out.print()
        if rows:
            print_table(out, columns, rows, title=title, notes=_NOTES)
        else:
            out.print(f"{title}: none yet.")


def _event_row(event: Row) -> dict[str, object]:
    before, after = event["from_state"], event["to_state"]
    said = [event[name] for name in ("traffic_sts", "ori_amount", "remark", "detail") if event[name] is not None]
    change = f"{before} > {after}" if before != after and before is not None else None
    return {**event, "query": event["query_id"], "change": change, "said": " | ".join(said)}


def _query_row(query: Row) -> dict[str, object]:
    answer = [str(query[name]) for name in ("http_status", "status_code", "status_msg") if query[name] is not None]
    how = f"{query['outcome']} ({' '.join(answer)})" if answer and query["outcome"] != "answered" else query["outcome"]
    this_order = "left out" if query["absent"] else "was answered" if query["outcome"] == "answered" else None
    return {**query, "outcome": how, "orders": query["order_count"], "this_order": this_order}
