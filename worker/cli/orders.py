"""How a person finds orders: `reconciler orders` by filters, other commands by one of their ids or the row's id."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.cli.declare import one_of
from worker.cli.errors import CommandError
from worker.cli.listing import Listing, Paged, write_csv
from worker.cli.output import console, print_json, print_table
from worker.cli.session import Accounts, Session, account_option, require_known
from worker.cli.times import TIME_RULE
from worker.domain.records import csv_columns
from worker.domain.records.attention import Attention
from worker.domain.records.orders import OrderState
from worker.domain.wire.fields import MOBILE_RULE, amount_text, id_fault, normalise_mobile, order_id_fault
from worker.views.order import order_by_id, orders_named, orders_with_id
from worker.views.orders import OrderSearch, count_orders, find_orders, key_of

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

_ROW_ID = re.compile(r"id:([0-9]{1,18})")
_FOUND_AT_ONCE = 500
REF_HELP = "A request_id or a custom_parm; or id:N, by the row's id, which needs no --account."
Account = Annotated[str, account_option("The account that the orders belong to.")]
Reference = Annotated[str, typer.Argument(metavar="REF", help=REF_HELP)]
References = Annotated[list[str], typer.Argument(metavar="REF...", help=REF_HELP)]


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


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The options that say which orders are meant."""

    state: States = None
    attention: AttentionFilter = None
    account: Accounts = None
    mobile: Mobile = None
    prefix: Prefix = None
    since: Since = None
    until: Until = None

    def search(self, opened: Session) -> OrderSearch:
        """The search for them. Raises CommandError for an unknown account, BadParameter for what is no time."""
        require_known(opened, self.account or ())
        reasons = list(Attention) if self.attention == _ANY else [Attention(self.attention)] if self.attention else []
        return OrderSearch(
            accounts=self.account or (),
            states=self.state or (),
            attention=reasons,
            mobile=self.mobile,
            prefix=self.prefix,
            since=opened.time_of("--since", self.since),
            until=opened.time_of("--until", self.until),
        )


def orders(*, filters: Filters, summary: Summary = False, page: Paged) -> None:
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
    if summary and page.after:
        raise typer.BadParameter("--summary counts all that match; leave --after out")
    with page.session() as opened:
        wanted = filters.search(opened)
        if summary:
            with opened.database.read() as connection:
                _show_counts(count_orders(connection, wanted), page)
            return
        # An order may be moved to the archive or back meanwhile: both tables are read as they were at one moment.
        with opened.database.snapshot() as connection:
            if page.after is not None and key_of(connection, page.after) is None:
                raise CommandError(
                    f"there is no order id:{page.after}; --after takes the id of the last order of a page"
                )
            found = page.read(_ORDERS, partial(find_orders, connection, wanted))
    page.show(replace(_ORDERS, columns=_columns(both_ids=filters.prefix is not None)), found)


def _columns(*, both_ids: bool) -> Sequence[str]:
    """Those that the terminal has room for. `both_ids`: either may be the one that is looked for."""
    room = console().width
    columns = _COLUMNS[max(width for width in _COLUMNS if width <= room)]
    at = columns.index("order")
    return (*columns[:at], *_IDS, *columns[at + 1 :]) if both_ids else columns


def _table_row(order: Row) -> dict[str, object]:
    # Before an order is final nothing was charged, whatever amount the platform gave beside its status.
    amount, expected = order["ori_amount"] if order["state"].is_final else None, order["expected_amount"]
    # In brackets: what is expected, and the price of a failed order, for which nothing was charged.
    if order["amount_is_price"] or (amount is None and expected is not None):
        amount = f"({amount_text(expected if amount is None else amount)})"
    return {**order, "order": order["request_id"] or order["custom_parm"], "amount": amount}


def _show_counts(counts: Sequence[Row], page: Paged) -> None:
    columns = ("account", "state", "attention", "orders")
    total = sum(count["orders"] for count in counts)
    if page.as_json:
        print_json({"total": total, "counts": counts})
    elif page.as_csv:
        write_csv(columns, counts)
    elif not counts:
        typer.echo("No orders.")
    else:
        print_table(console(), columns, counts, ids=("account",))
        typer.echo(f"{total:,} orders.")


_ORDERS = Listing(
    rows="orders submitted",
    none="No such orders.",
    csv=csv_columns.ORDERS,
    columns=_COLUMNS[0],
    table_row=_table_row,
    ids=("order", *_IDS, "account"),
)


def named_orders(opened: Session, account: str, references: Sequence[str]) -> dict[str, Row | str]:
    """For each reference the order that it names; or why it names none, as a line that says what to do.

    Raises CommandError for an unknown account, where a reference needs one.
    """
    row_ids = {reference: found[1] for reference in references if (found := _ROW_ID.fullmatch(reference))}
    names = [reference for reference in references if reference not in row_ids]
    if names:
        require_known(opened, [account])
    # A snapshot of both tables: an order may be moved to the archive or back meanwhile.
    with opened.database.snapshot() as connection:
        rows = orders_named(connection, account, names) if names else []
        by_row = {
            reference: _of_row(reference, order_by_id(connection, int(row_id)), orders_with_id(connection, reference))
            for reference, row_id in row_ids.items()
        }
    return {reference: by_row.get(reference) or _only(reference, account, rows) for reference in references}


def find_in_parts(opened: Session, account: str, references: Sequence[str]) -> Iterator[tuple[str, Row | str]]:
    """The same for any number of references, some hundred of them at once. Raises CommandError as it does."""
    for start in range(0, len(references), _FOUND_AT_ONCE):
        yield from named_orders(opened, account, references[start : start + _FOUND_AT_ONCE]).items()


def _of_row(reference: str, row: Row | None, named: Sequence[Row]) -> Row | str:
    """The order of a row. An earlier release took orders in whose own id has this form: then none is guessed."""
    others = [other for other in named if row is None or other["id"] != row["id"]]
    if others:
        meant = [] if row is None else [f"the row of order {row['account']}:{row['request_id'] or row['custom_parm']}"]
        meant += [f"the id of order id:{other['id']}" for other in others]
        return f"{reference} is {' and '.join(meant)}: name the order by another of its ids"
    return row or f"there is no order {reference}; `reconciler orders` lists the newest ones"


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
    why = f"there is no order {shown} in the account {one_line(account)}; enqueue it first, or give its --account"
    if normalise_mobile(reference) is not None:
        return f"{why}; a phone number? `reconciler orders --mobile` finds the orders of one"
    return why
