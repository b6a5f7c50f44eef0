"""`reconciler orders`: list the orders that match, or count them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import typer

from worker.cli.app import CommandError
from worker.cli.declare import WrongUse
from worker.cli.listing import Listing, Paged, write_csv
from worker.cli.output import (
    console,
    print_json,
    print_table,
    say,
)
from worker.cli.session import Accounts, Session, require_known, say_deleted
from worker.cli.times import TIME_RULE
from worker.domain.records import csv_columns
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.sentences import _
from worker.domain.wire.fields import MOBILE_RULE, amount_text, id_fault, normalise_mobile
from worker.views.orders import OrderSearch, count_orders, find_orders, key_of

Row = dict[str, Any]

_ANY = "any"
_REASONS = ", ".join(reason.value for reason in Attention)
# The columns of the table, by the least width of the terminal for them. `reconciler order` shows the other fields.
_COLUMNS = {
    0: ("id", "order", "state", "attention", "amount"),
    100: ("id", "account", "order", "state", "attention", "amount", "submitted_at"),
    150: ("id", "account", "order", "mobile", "state", "attention", "amount", "submitted_at", "queried_at"),
}
_IDS = ("request_id", "custom_parm")


def _read_attention(value: str | None) -> str | None:
    if value is not None and value != _ANY and value not in list(Attention):
        raise WrongUse("%(value)r is not one of: %(words)s", value, f"{_ANY}, {_REASONS}")
    return value


def _read_mobile(value: str | None) -> str | None:
    mobile = normalise_mobile(value) if value is not None else None
    if value is not None and mobile is None:
        raise WrongUse("%(value)r is no mobile number; accepted: %(rule)s", value, MOBILE_RULE)
    return mobile


def _read_prefix(value: str | None) -> str | None:
    if value is not None and (fault := id_fault(value)):
        raise WrongUse("the start of an id %(fault)s", fault)
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
Mobile = Annotated[str | None, typer.Option(help="Only orders that recharge this phone number.", callback=_read_mobile)]
Prefix = Annotated[
    str | None, typer.Option(help="Only orders whose request_id or custom_parm begins so.", callback=_read_prefix)
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"Only orders that were submitted then or later: {TIME_RULE}.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only orders that were submitted before then.")]
SettledSince = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only orders that became final then or later; listed by that time.")
]
SettledUntil = Annotated[str | None, typer.Option(metavar="TIME", help="Only orders that became final before then.")]
Summary = Annotated[
    bool,
    typer.Option("--summary", help="Count those that match instead. May read the whole table."),
]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The options that select orders."""

    state: States = None
    attention: AttentionFilter = None
    account: Accounts = None
    mobile: Mobile = None
    prefix: Prefix = None
    since: Since = None
    until: Until = None
    settled_since: SettledSince = None
    settled_until: SettledUntil = None

    def search(self, opened: Session) -> OrderSearch:
        """The search for the selected orders. Raises CommandError for an unknown account, and WrongUse for a text that
        is not a time."""
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
            settled_since=opened.time_of("--settled-since", self.settled_since),
            settled_until=opened.time_of("--settled-until", self.settled_until),
        )


def orders(*, filters: Filters, summary: Summary = False, page: Paged) -> None:
    """Show the orders that match, last submitted first; with --settled-since or --settled-until, last settled first. Or
    count them, by account, state and attention.

    Amounts are in yuan: the amount that the platform charged, or in parentheses the expected one.

    If the search for a page takes longer than two seconds, only the newest 50,000 orders are searched. The command says
    so and exits with 3: narrow the search with another option. --csv without --limit reads to the end.

    Examples:
      reconciler orders
      reconciler orders --state pending --account shop --limit 50
      reconciler orders --attention any --json
      reconciler orders --mobile 18812340804
      reconciler orders --prefix 20160131 --since 2016-01-31 --csv
      reconciler orders --settled-since yesterday --settled-until today --csv
      reconciler orders --summary --since 7d
    """
    if summary and page.after:
        raise WrongUse("--summary counts all that match; leave --after out")
    with page.session() as opened:
        wanted = filters.search(opened)
        since = wanted.since or wanted.settled_since
        if summary:
            with opened.database.read() as connection:
                _show_counts(count_orders(connection, wanted), page)
            say_deleted(opened, since)
            return
        with opened.database.snapshot() as connection:
            if page.after is not None and key_of(connection, page.after, wanted) is None:
                raise CommandError(
                    "there is no order id:%(row)s; --after takes the id of the last order of a page", page.after
                )
            found = page.read(_ORDERS, partial(find_orders, connection, wanted))
        say_deleted(opened, since)
    rows = "orders submitted" if wanted.time_columns[0] == "submitted_at" else "final orders"
    page.show(replace(_ORDERS, rows=rows, columns=_columns(both_ids=filters.prefix is not None)), found)


def _columns(*, both_ids: bool) -> Sequence[str]:
    """The columns that fit the terminal. With `both_ids`, each kind of id has its own column, because the search may
    have matched either."""
    room = console().width
    columns = _COLUMNS[max(width for width in _COLUMNS if width <= room)]
    at = columns.index("order")
    return (*columns[:at], *_IDS, *columns[at + 1 :]) if both_ids else columns


def _table_row(order: Row) -> dict[str, object]:
    # Until an order is final, nothing was charged, even if the platform gave an amount. So do not show that amount.
    amount, expected = order["ori_amount"] if order["state"].is_final else None, order["expected_amount"]
    # An amount in parentheses was not charged: it is the expected amount, or the price of a failed order.
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
        say("No orders.")
    else:
        print_table(console(), columns, counts, ids=("account",))
        say("%(count)s orders.", f"{total:,}")


_ORDERS = Listing(
    rows="orders submitted",
    none=_("No such orders."),
    csv=csv_columns.ORDERS,
    columns=_COLUMNS[0],
    table_row=_table_row,
    ids=("order", *_IDS, "account"),
)
