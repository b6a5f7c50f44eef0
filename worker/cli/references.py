"""Orders as a person names them: by request_id, by custom_parm, or by the row's id."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from worker.adapters.wording import one_line
from worker.domain.identity import id_fault, order_id_fault

if TYPE_CHECKING:
    from worker.cli.session import Session
    from worker.stores.command_line_reads import Row

Account = Annotated[str, Option(help="The account that the orders belong to.")]

_REF_HELP = "A request_id or a custom_parm; or id:N, by the row's id, which needs no --account."
Reference = Annotated[str, Argument(metavar="REF", help=_REF_HELP)]
References = Annotated[list[str], Argument(metavar="REF...", help=_REF_HELP)]

_ROW_ID = re.compile(r"id:([0-9]{1,18})")


def find_orders(opened: "Session", account: str, references: Sequence[str]) -> "dict[str, Row | str]":
    """For each reference the order that it names; or why it names none, as a line that says what to do.

    Raises CommandError for an account that nobody knows, where a reference needs one.
    """
    from worker.cli.session import require_known
    from worker.stores.command_line_reads import order_by_id, orders_named

    names = [reference for reference in references if not _ROW_ID.fullmatch(reference)]
    if names:
        require_known(opened, [account])
    # An order may be moved to the archive or back meanwhile: it is looked for in both tables.
    with opened.database.snapshot() as connection:
        rows = orders_named(connection, account, names) if names else []
        by_id = {
            reference: order_by_id(connection, int(found[1]))
            for reference in references
            if (found := _ROW_ID.fullmatch(reference))
        }
    return {
        reference: (by_id[reference] or f"there is no order {reference}; `reconciler orders` lists the newest ones")
        if reference in by_id
        else _only(reference, account, rows)
        for reference in references
    }


def _only(reference: str, account: str, rows: "Sequence[Row]") -> "Row | str":
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
