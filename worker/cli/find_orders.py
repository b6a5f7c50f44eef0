"""`reconciler orders`: the orders that match, newest first, a page at a time; or how many there are."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from worker.cli.completion import account_names, one_of
from worker.cli.errors import CommandError
from worker.cli.listing import PAGE_ROWS, After, AsCsv, Limit, cut, name_next_page, require_one_format, write_csv
from worker.cli.output import AsJson, InUtc, console, print_json, print_table, time_text
from worker.cli.session import Session, require_known, session
from worker.cli.times import TIME_RULE, read_time
from worker.database.transactions import Connection
from worker.domain.records import csv_columns
from worker.domain.records.orders import Attention, OrderState
from worker.domain.wire.field_rules import MOBILE_RULE, amount_text, id_fault, normalise_mobile
from worker.views.orders import OrderSearch, count_orders, find_orders, key_of
from worker.views.page import Page, every_row

Row = dict[str, Any]

_ANY = "any"
_REASONS = ", ".join(reason.value for reason in Attention)
# By the width of the terminal: what is left out stands in `reconciler order`.
_COLUMNS = {
    0: ("id", "order", "state", "attention", "amount"),
    100: ("id", "account", "order", "state", "attention", "amount", "submitted_at"),
    150: ("id", "account", "order", "mobile", "state", "attention", "amount", "submitted_at", "queried_at"),
}
_IDS = ("request_id", "custom_parm")


def _read_attention(value: str | None) -> str | None:
    if value is not None and value != _ANY and value not in list(Attention):
        raise typer.BadParameter(f"{value!r} is not one of: {_ANY}, {_REASONS}")
    return value


def _read_mobile(value: str | None) -> str | None:
    mobile = normalise_mobile(value) if value is not None else None
    if value is not None and mobile is None:
        raise typer.BadParameter(f"{value!r} is no mobile number; accepted: {MOBILE_RULE}")
    return mobile


def _read_prefix(value: str | None) -> str | None:
    if value is not None and (fault := id_fault(value)):
        raise typer.BadParameter(f"the start of an id {fault}")
    return value


States = Annotated[list[OrderState] | None, typer.Option("--state", help="Only orders in this state; may be repeated.")]
AttentionFilter = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help=f"Only orders that a person should look at: {_ANY}, or one of {_REASONS}.",
        callback=_read_attention,
        autocompletion=one_of([_ANY, *Attention]),
    ),
]
Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", help="Only orders of this account; may be repeated.", autocompletion=account_names),
]
Mobile = Annotated[str | None, typer.Option(help="Only orders that recharge this phone number.", callback=_read_mobile)]
Prefix = Annotated[
    str | None, typer.Option(help="Only orders whose request_id or custom_parm begins so.", callback=_read_prefix)
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"Only orders that were submitted then or later: {TIME_RULE}.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only orders that were submitted before then.")]
Summary = Annotated[
    bool,
    typer.Option("--summary", help="Count those that match instead, without archived ones. May read the whole table."),
]


def orders(
    state: States = None,
    attention: AttentionFilter = None,
    account: Accounts = None,
    mobile: Mobile = None,
    prefix: Prefix = None,
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = None,
    summary: Summary = False,
    utc: InUtc = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show the orders that match, archived ones too, the last submitted first; or count them, by account, state and
    attention.

    Amounts are yuan (what the platform charged, or in parentheses what is expected).

    Where few of very many orders match, the search ends after a second or so and says how far it came: `--after` goes
    on from there.

    Examples:
      reconciler orders
      reconciler orders --state pending --account shop --limit 50
      reconciler orders --attention any --json
      reconciler orders --mobile 18812340804
      reconciler orders --prefix 20160131 --since 2016-01-31 --csv
      reconciler orders --summary --since 7d
    """
    require_one_format(as_json, as_csv)
    if summary and after:
        raise typer.BadParameter("--summary counts all that match; leave --after out")
    accounts = account or ()
    most = limit or PAGE_ROWS
    with session(utc=utc, streams=as_csv) as opened:
        require_known(opened, accounts)
        reasons = list(Attention) if attention == _ANY else [Attention(attention)] if attention else []
        wanted = OrderSearch(accounts=accounts, states=state or (), attention=reasons, mobile=mobile, prefix=prefix)
        wanted = _within(opened, wanted, since, until)
        if summary:
            with opened.database.read() as connection:
                _show_counts(count_orders(connection, wanted), as_json, as_csv)
            return
        # An order may be moved to the archive or back meanwhile: both tables are read as they were at one moment.
        with opened.database.snapshot() as connection:
            _require_order(connection, after)
            if as_csv and limit is None:
                write_csv(csv_columns.ORDERS, every_row(partial(find_orders, connection, wanted), after))
                return
            found = find_orders(connection, wanted, after=after, most=most + 1)
    _show(found, most, as_json, as_csv, both_ids=prefix is not None)


def _within(opened: Session, wanted: OrderSearch, since: str | None, until: str | None) -> OrderSearch:
    zone = opened.settings.zone
    with opened.database.read() as connection:
        now = opened.database.now(connection)
    return replace(
        wanted,
        since=None if since is None else read_time("--since", since, now, zone),
        until=None if until is None else read_time("--until", until, now, zone),
    )


def _require_order(connection: Connection, after: int | None) -> None:
    if after is not None and key_of(connection, after) is None:
        raise CommandError(f"there is no order id:{after}; --after takes the id of the last order of a page")


def _show(found: Page[Row], most: int, as_json: bool, as_csv: bool, *, both_ids: bool) -> None:
    rows, is_more = cut(found.rows, most)
    if as_json:
        print_json(rows)
    elif as_csv:
        write_csv(csv_columns.ORDERS, rows)
    elif rows:
        out = console()
        columns = _COLUMNS[max(width for width in _COLUMNS if width <= out.width)]
        if both_ids:
            # Either may be the one that begins so.
            at = columns.index("order")
            columns = (*columns[:at], *_IDS, *columns[at + 1 :])
        print_table(out, columns, [_table_row(order) for order in rows], ids=("order", *_IDS, "account"))
    elif not found.is_stopped:
        typer.echo("No such orders.")
    if is_more:
        name_next_page(rows[-1]["id"])
    elif found.stopped_at is not None:
        time, last = time_text(found.stopped_at), found.next_after
        typer.echo(f"Searched the orders submitted since {time}; for older ones: --after {last}", err=True)


def _table_row(order: Row) -> dict[str, object]:
    # Before an order is final nothing was charged, whatever amount the platform gave beside its status.
    amount, expected = order["ori_amount"] if order["state"].is_final else None, order["expected_amount"]
    # In brackets: what is expected, and the price of a failed order, for which nothing was charged.
    if order["amount_is_price"] or (amount is None and expected is not None):
        amount = f"({amount_text(expected if amount is None else amount)})"
    return {**order, "order": order["request_id"] or order["custom_parm"], "amount": amount}


def _show_counts(counts: Sequence[Row], as_json: bool, as_csv: bool) -> None:
    columns = ("account", "state", "attention", "orders")
    total = sum(count["orders"] for count in counts)
    if as_json:
        print_json({"total": total, "counts": counts})
    elif as_csv:
        write_csv(columns, counts)
    elif not counts:
        typer.echo("No orders.")
    else:
        print_table(console(), columns, counts, ids=("account",))
        typer.echo(f"{total:,} orders.")
