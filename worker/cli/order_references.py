"""How a person names an order to a command: by request_id, by custom_parm, or by the row's id."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.cli.completion import account_names
from worker.cli.session import Session, require_known
from worker.domain.wire.field_rules import id_fault, normalise_mobile, order_id_fault
from worker.views.order import order_by_id, orders_named, orders_with_id

Row = dict[str, Any]

_ROW_ID = re.compile(r"id:([0-9]{1,18})")
_FOUND_AT_ONCE = 500
REF_HELP = "A request_id or a custom_parm; or id:N, by the row's id, which needs no --account."


Account = Annotated[str, typer.Option(help="The account that the orders belong to.", autocompletion=account_names)]
Reference = Annotated[str, typer.Argument(metavar="REF", help=REF_HELP)]
References = Annotated[list[str], typer.Argument(metavar="REF...", help=REF_HELP)]


def find_orders(opened: Session, account: str, references: Sequence[str]) -> dict[str, Row | str]:
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
        yield from find_orders(opened, account, references[start : start + _FOUND_AT_ONCE]).items()


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
