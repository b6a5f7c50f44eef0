"""`reconciler orders`: the orders there are, and how a person names one.

A person names an order by request_id, by custom_parm, or by the row's id.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.cli.output import AsJson, InUtc, amount_text, console, print_json, print_table
from worker.domain.field_rules import id_fault, order_id_fault
from worker.domain.records.orders import Attention, OrderState

if TYPE_CHECKING:
    from worker.cli.session import Session

Row = dict[str, Any]

_ANY = "any"
_REASONS = ", ".join(reason.value for reason in Attention)
# By the width of the terminal; `reconciler order` shows the other columns.
_COLUMNS = {
    0: ("id", "order", "state", "attention", "amount"),
    100: ("id", "account", "order", "state", "attention", "amount", "submitted_at"),
    150: ("id", "account", "order", "mobile", "state", "attention", "amount", "submitted_at", "queried_at"),
}
_ROW_ID = re.compile(r"id:([0-9]{1,18})")
REF_HELP = "A request_id or a custom_parm; or id:N, by the row's id, which needs no --account."


def _read_attention(value: str | None) -> str | None:
    if value is not None and value != _ANY and value not in list(Attention):
        raise typer.BadParameter(f"{value!r} is not one of: {_ANY}, {_REASONS}")
    return value


States = Annotated[list[OrderState] | None, typer.Option("--state", help="Only orders in this state; may be repeated.")]
AttentionFilter = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help=f"Only orders that a person should look at: {_ANY}, or one of {_REASONS}.",
        callback=_read_attention,
    ),
]
Accounts = Annotated[list[str] | None, typer.Option("--account", help="Only orders of this account; may be repeated.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many orders to show at most.")]
Summary = Annotated[bool, typer.Option("--summary", help="Count the orders instead; reads the whole table.")]
Account = Annotated[str, typer.Option(help="The account that the orders belong to.")]
Reference = Annotated[str, typer.Argument(metavar="REF", help=REF_HELP)]
References = Annotated[list[str], typer.Argument(metavar="REF...", help=REF_HELP)]


def orders(
    state: States = None,
    attention: AttentionFilter = None,
    account: Accounts = None,
    limit: Limit = 20,
    summary: Summary = False,
    utc: InUtc = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest orders, newest first; or count them, by account, state and attention.

    Amounts are yuan (what the platform charged, or in parentheses what is expected).
    """
    from worker.cli.session import require_known, session
    from worker.stores.command_line_reads import count_orders, recent_orders

    if summary and (state or attention):
        raise typer.BadParameter("--summary counts every state and attention; leave --state and --attention out")
    accounts = account or ()
    with session(utc=utc) as opened:
        require_known(opened, accounts)
        with opened.database.read() as connection:
            if summary:
                _print_counts(count_orders(connection, accounts=accounts), as_json)
            else:
                reasons = list(Attention) if attention == _ANY else [Attention(attention)] if attention else []
                found = recent_orders(connection, limit=limit, accounts=accounts, states=state or (), attention=reasons)
                _print_orders(found, as_json)


def find_orders(opened: "Session", account: str, references: Sequence[str]) -> dict[str, Row | str]:
    """For each reference the order that it names; or why it names none, as a line that says what to do.

    Raises CommandError for an unknown account, where a reference needs one.
    """
    from worker.cli.session import require_known
    from worker.stores.command_line_reads import order_by_id, orders_named

    row_ids = {reference: found[1] for reference in references if (found := _ROW_ID.fullmatch(reference))}
    names = [reference for reference in references if reference not in row_ids]
    if names:
        require_known(opened, [account])
    # A snapshot of both tables: an order may be moved to the archive or back meanwhile.
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
    # No order can have a text that is no id. An id that a spreadsheet has rewritten gets a message of its own.
    if id_fault(reference) is None and (fault := order_id_fault(reference)):
        return fault
    return f"there is no order {shown} in the account {one_line(account)}; enqueue it first, or give its --account"


def _print_orders(found: Sequence[Row], as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif not found:
        typer.echo("No such orders.")
    else:
        out = console()
        columns = _COLUMNS[max(width for width in _COLUMNS if width <= out.width)]
        print_table(out, columns, [_table_row(order) for order in found], ids=("order", "account"))


def _table_row(order: Row) -> dict[str, object]:
    amount, expected = order["ori_amount"], order["expected_amount"]
    if amount is None and expected is not None:
        amount = f"({amount_text(expected)})"
    return {**order, "order": order["request_id"] or order["custom_parm"], "amount": amount}


def _print_counts(counts: Sequence[Row], as_json: bool) -> None:
    total = sum(count["orders"] for count in counts)
    if as_json:
        print_json({"total": total, "counts": counts})
    elif not counts:
        typer.echo("No orders.")
    else:
        print_table(console(), ("account", "state", "attention", "orders"), counts, ids=("account",))
        typer.echo(f"{total:,} orders.")
