"""`reconciler orders`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from worker.cli.output import AsJson, amount_text, console, print_json
from worker.cli.table import print_table
from worker.domain.records.orders import Attention, OrderState

_ANY = "any"
_REASONS = ", ".join(reason.value for reason in Attention)
# By the width of the terminal: what is left out stands in `reconciler order`.
_COLUMNS = {
    0: ("id", "order", "state", "attention", "amount"),
    100: ("id", "account", "order", "state", "attention", "amount", "submitted_at"),
    150: (
        "id",
        "account",
        "order",
        "mobile",
        "state",
        "attention",
        "amount",
        "submitted_at",
        "queried_at",
    ),
}


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


def orders(
    state: States = None,
    attention: AttentionFilter = None,
    account: Accounts = None,
    limit: Limit = 20,
    summary: Summary = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest orders, newest first; or count them, by account, state and attention.

    Amounts are yuan (what the platform charged, or in parentheses what is expected), times are UTC.
    """
    from worker.cli.session import require_known, session
    from worker.stores.command_line_reads import count_orders, recent_orders

    if summary and (state or attention):
        raise typer.BadParameter("--summary counts every state and attention; leave --state and --attention out")
    accounts = account or ()
    with session() as opened:
        require_known(opened, accounts)
        with opened.database.read() as connection:
            if summary:
                _show_counts(count_orders(connection, accounts=accounts), as_json)
            else:
                reasons = list(Attention) if attention == _ANY else [Attention(attention)] if attention else []
                found = recent_orders(connection, limit=limit, accounts=accounts, states=state or (), attention=reasons)
                _show_orders(found, as_json)


def _show_orders(found: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif not found:
        typer.echo("No such orders.")
    else:
        out = console()
        columns = _COLUMNS[max(width for width in _COLUMNS if width <= out.width)]
        print_table(out, columns, [_table_row(order) for order in found], ids=("order", "account"))


def _table_row(order: Mapping[str, Any]) -> dict[str, object]:
    amount, expected = order["ori_amount"], order["expected_amount"]
    if amount is None and expected is not None:
        amount = f"({amount_text(expected)})"
    return {**order, "order": order["request_id"] or order["custom_parm"], "amount": amount}


def _show_counts(counts: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    total = sum(count["orders"] for count in counts)
    if as_json:
        print_json({"total": total, "counts": counts})
    elif not counts:
        typer.echo("No orders.")
    else:
        print_table(console(), ("account", "state", "attention", "orders"), counts, ids=("account",))
        typer.echo(f"{total:,} orders.")
