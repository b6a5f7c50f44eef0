"""`reconciler purge`, which deletes old rows, and `archive`, which does nothing."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from worker.adapters import shown_values
from worker.cli.acts import Act, Yes, acting_session, confirm, require_answer
from worker.cli.declare import WrongUse
from worker.cli.output import (
    console,
    counted,
    print_json,
    print_table,
    progress,
    say,
    time_text,
    warn,
)
from worker.cli.session import Session
from worker.cli.times import TIME_RULE
from worker.domain.records.coded_texts import TextCode
from worker.domain.records.operators import ActKind
from worker.domain.records.sentences import _
from worker.operations.act_by_hand import LongAct
from worker.operations.purge import PURGED_FROM, Purged, purge_orders
from worker.operations.purge import purge as purge_received

_TABLES: Sequence[str] = ("rejected_orders", "unmatched_callbacks", "platform_queries")

OlderThan = Annotated[
    str | None,
    typer.Option(
        "--older-than", metavar="TIME", help=f"Delete input and queries of before then: {TIME_RULE}. 30 days at least."
    ),
]
Ignored = Annotated[list[str] | None, typer.Argument(help="Not read.")]
Orders = Annotated[
    str | None,
    typer.Option("--orders", metavar="AGE", help=f"Delete settled orders instead: {TIME_RULE}. 30 days at least."),
]


def archive(arguments: Ignored = None) -> None:
    """Do nothing: there is no archive any more. `reconciler purge --orders` deletes old orders.

    The command stays, with any options, until release 3.0, so that timers that still call it do not fail.

    Examples:
      reconciler archive
    """
    warn("There is no archive any more. `reconciler purge --orders AGE` deletes old orders.")


def purge(
    older_than: OlderThan = None,
    orders: Orders = None,
    yes: Yes = False,
    *,
    act: Act,
) -> None:
    """Delete for good refused input and unmatched callbacks that are older than a time, and old queries whose orders
    are all gone; or with --orders, settled orders with their history and notifications.

    An order is deleted if it was submitted, settled and last changed before that time. Orders stay if they are pending
    or unresolved, need a person, or have an undelivered notification. A query stays if any of its orders is still
    there. A deleted order is no longer known: if it is sent again, it is a new order.

    Rows are deleted in batches, each in a transaction of its own, so the command may run at the same time as the
    worker. An interrupted run can be repeated. Rows are counted first, and you are asked to confirm; with --yes you are
    not asked.

    Examples:
      reconciler purge --older-than 400d --dry-run
      reconciler purge --older-than 400d
      reconciler purge --orders 400d
    """
    if (older_than is None) == (orders is None):
        raise WrongUse("give either --older-than or --orders")
    who = act.operator()
    with acting_session() as opened:
        if orders is None:
            tables, code, delete = _TABLES, TextCode.DONE_BEFORE, purge_received
            before = _old_enough(opened, "--older-than", older_than or "")
        else:
            tables, code, delete = ("recharge_orders",), TextCode.DONE_SETTLED_BEFORE, purge_orders
            before = _old_enough(opened, "--orders", orders)
        if not (act.dry_run or yes):
            # Check that a person can be asked before the rows are counted, because counting may take minutes.
            require_answer(yes=False)
            _ask_to_delete(before, _counted(tables, delete(opened.database, before, None)))
        started = time.monotonic()
        long_act = LongAct(who, ActKind.PURGE, code, time=shown_values.time_text(before, UTC))
        counts = _counted(tables, delete(opened.database, before, None if act.dry_run else long_act))
        long_act.log_end()
    _print_purged(act, before, counts, time.monotonic() - started)


def _ask_to_delete(before: datetime, found: Mapping[str, int]) -> None:
    if "recharge_orders" in found:
        what = _("Settled before %(time)s: %(orders)s.", time_text(before), counted(found["recharge_orders"], "order"))
    else:
        old = counted(sum(found.values()), "row")
        what = _("Old and referred to by nothing: %(rows)s from before %(time)s.", old, time_text(before))
    confirm(what, _("Delete?"), yes=False)


def _print_purged(act: Act, before: datetime, counts: Mapping[str, int], seconds: float) -> None:
    if act.as_json:
        print_json({"older_than": before, "dry_run": act.dry_run, "rows": counts, "seconds": round(seconds, 3)})
    else:
        print_table(console(), ("table", "rows"), [{"table": table, "rows": rows} for table, rows in counts.items()])
        rows, what = counted(sum(counts.values()), "row"), _("would be deleted") if act.dry_run else _("deleted")
        lasted = f"{seconds:,.1f}"
        say("%(rows)s from before %(time)s %(what)s in %(seconds)s s.", rows, time_text(before), what, lasted)


def _old_enough(opened: Session, option: str, value: str) -> datetime:
    """The time that an option names. Raises WrongUse if that time is less than 30 days ago."""
    before, days = opened.time_of(option, value), PURGED_FROM.days
    if before > opened.now() - PURGED_FROM:
        raise WrongUse(
            "%(name)s %(age)s is less than %(days)s days ago; accepted: %(days)sd or older", option, value, days
        )
    return before


def _counted(tables: Sequence[str], parts: Iterable[Purged]) -> dict[str, int]:
    counts = dict.fromkeys(tables, 0)
    with progress("looking for old rows") as show:
        for table, rows in parts:
            counts[table] += rows
            show(f"{sum(counts.values()):,} rows", 0)
    return counts
