"""`reconciler archive` and `purge`: what keeps the tables small."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from worker.adapters import shown_values
from worker.cli.acts import Act, Yes, acting_session, confirm, require_answer
from worker.cli.listing import AsCsv, require_one_format, write_csv
from worker.cli.output import (
    InUtc,
    console,
    counted,
    print_json,
    print_table,
    progress,
    say,
    time_text,
)
from worker.cli.session import Session
from worker.cli.times import TIME_RULE
from worker.domain.orders.retention import ARCHIVED_FROM, PURGED_FROM
from worker.domain.records.acts import ActKind
from worker.domain.records.coded_texts import TextCode
from worker.operations.act_by_hand import LongAct, Operator
from worker.operations.archive_and_purge import Purged, count_settled, move_settled, purge_orders, restore_all
from worker.operations.archive_and_purge import purge as purge_received

_TABLES: Sequence[str] = ("archived_orders", "rejected_orders", "unmatched_callbacks", "platform_queries")

SettledBefore = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help=f"Move final and cancelled orders that nothing has happened to since: {TIME_RULE}. At least a day ago.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="How many orders to move at most; all, if not given.")]
Restore = Annotated[bool, typer.Option("--restore", help="Empty the archive into recharge_orders again instead.")]
OlderThan = Annotated[
    str | None,
    typer.Option(
        "--older-than", metavar="TIME", help=f"Delete input and queries of before then: {TIME_RULE}. 30 days at least."
    ),
]
Orders = Annotated[
    str | None,
    typer.Option("--orders", metavar="AGE", help=f"Delete settled orders instead: {TIME_RULE}. 30 days at least."),
]


def archive(
    settled_before: SettledBefore = None,
    limit: Limit = None,
    restore: Restore = False,
    yes: Yes = False,
    utc: InUtc = False,
    *,
    act: Act,
) -> None:
    """Move settled orders out of recharge_orders, with their events, into archived_orders.

    They stay known: the same order again is a duplicate, `reconciler order` shows it, and a callback, a check or a
    cancellation that names it restores it first. Orders that are pending, unresolved or for a person to look at stay.
    Orders are moved in batches of 200, each in a transaction of its own, so it may run beside the worker, twice at
    once, and be interrupted: the next run goes on. You are asked first; with --yes you are not.

    Examples:
      reconciler archive --settled-before 90d --dry-run
      reconciler archive --settled-before 90d
      reconciler archive --settled-before 2016-01-31 --limit 100000 --json
    """
    if (settled_before is None) != restore:
        raise typer.BadParameter("give either --settled-before or --restore")
    if restore and act.dry_run:
        raise typer.BadParameter("--dry-run is for --settled-before: --restore restores everything")
    who = act.operator()
    with acting_session(utc=utc) as opened:
        before = None
        if settled_before is not None:
            before = _old_enough(opened, "--settled-before", settled_before, ARCHIVED_FROM)
        if not (act.dry_run or yes):
            _ask_to_move(opened, before, limit)
        started = time.monotonic()
        moved = _restore(opened, who, limit) if before is None else _move(opened, who, before, limit)
    _print_moved(act, before, moved, time.monotonic() - started)


def purge(
    older_than: OlderThan = None,
    orders: Orders = None,
    yes: Yes = False,
    utc: InUtc = False,
    as_csv: AsCsv = False,
    *,
    act: Act,
) -> None:
    """Delete for good: refused input and unmatched callbacks that are older than a time, and queries whose orders are
    all gone; or with --orders settled orders, with their history and their notifications.

    An order goes if it was submitted and settled before the time; a cancelled one was changed last before it. Orders
    that are pending, unresolved or for a person to look at stay, and so does every query that the history of an order
    refers to. An order that was deleted is not known any more: sent again, it is new.

    Rows go in batches, each in a transaction of its own, so it may run beside the worker; a run that was interrupted is
    repeated. Before that the rows are counted, and you are asked; with --yes you are not.

    Examples:
      reconciler purge --older-than 400d --dry-run
      reconciler purge --older-than 400d
      reconciler purge --orders 400d
    """
    require_one_format(act.as_json, as_csv)
    if (older_than is None) == (orders is None):
        raise typer.BadParameter("give either --older-than or --orders")
    who = act.operator()
    with acting_session(utc=utc) as opened:
        if orders is None:
            tables, code, delete = _TABLES, TextCode.DONE_BEFORE, purge_received
            before = _old_enough(opened, "--older-than", older_than or "", PURGED_FROM)
        else:
            tables, code, delete = ("recharge_orders",), TextCode.DONE_SETTLED_BEFORE, purge_orders
            before = _old_enough(opened, "--orders", orders, PURGED_FROM)
        if not (act.dry_run or yes):
            # Before the rows are counted, which may take minutes.
            require_answer(yes=False)
            _ask_to_delete(before, _counted(tables, delete(opened.database, before, dry_run=True)))
        started = time.monotonic()
        long_act = LongAct(who, ActKind.PURGE, code, time=shown_values.time_text(before, UTC))
        counts = _counted(tables, delete(opened.database, before, dry_run=act.dry_run, act=long_act))
        long_act.log_end()
    _print_purged(act, as_csv, before, counts, time.monotonic() - started)


def _ask_to_delete(before: datetime, found: Mapping[str, int]) -> None:
    if "recharge_orders" in found:
        what = f"Settled before {time_text(before)}: {counted(found['recharge_orders'], 'order')}."
    else:
        old = counted(sum(found.values()), "row")
        what = f"Old and referred to by nothing: {old} from before {time_text(before)}."
    confirm(what, "Delete?", yes=False)


def _print_purged(act: Act, as_csv: bool, before: datetime, counts: Mapping[str, int], seconds: float) -> None:
    listed = [{"table": table, "rows": rows} for table, rows in counts.items()]
    if act.as_json:
        print_json({"older_than": before, "dry_run": act.dry_run, "rows": counts, "seconds": round(seconds, 3)})
    elif as_csv:
        write_csv(("table", "rows"), listed)
    else:
        print_table(console(), ("table", "rows"), listed)
        rows, what = counted(sum(counts.values()), "row"), "would be deleted" if act.dry_run else "deleted"
        say(f"{rows} from before {time_text(before)} {what} in {seconds:,.1f} s.")


def _old_enough(opened: Session, option: str, value: str, least: timedelta) -> datetime:
    """The time that an option names. Raises BadParameter where it is younger than the least age."""
    before, days = opened.time_of(option, value), least.days
    if before > opened.now() - least:
        ago = "a day" if days == 1 else f"{days} days"
        raise typer.BadParameter(f"{option} {value} is less than {ago} ago; accepted: {days}d or older")
    return before


def _ask_to_move(opened: Session, before: datetime | None, limit: int | None) -> None:
    # Before the orders are counted, which may take minutes.
    require_answer(yes=False)
    if before is None:
        confirm("Archived orders would be in recharge_orders again.", "Restore them?", yes=False)
        return
    found = counted(_count(count_settled(opened.database, before, limit), "found"), "order")
    confirm(f"Settled before {time_text(before)}: {found}.", "Move to the archive?", yes=False)


def _move(opened: Session, who: Operator, before: datetime, limit: int | None) -> int:
    if who.dry_run:
        return _count(count_settled(opened.database, before, limit), "found")
    act = LongAct(who, ActKind.ARCHIVE, TextCode.DONE_SETTLED_BEFORE, time=shown_values.time_text(before, UTC))
    moved = _count(move_settled(opened.database, before, limit, act), "moved")
    act.log_end()
    return moved


def _restore(opened: Session, who: Operator, limit: int | None) -> int:
    act = LongAct(who, ActKind.RESTORE)
    restored = _count(restore_all(opened.database, limit, act), "restored")
    act.log_end()
    return restored


def _count(batches: Iterator[int], what: str) -> int:
    total = 0
    with progress("looking for orders") as show:
        for count in batches:
            total += count
            show(f"{total:,} orders {what}", 0)
    return total


def _print_moved(act: Act, before: datetime | None, moved: int, seconds: float) -> None:
    if act.as_json:
        counts = {"archived": 0, "restored": moved} if before is None else {"archived": moved, "restored": 0}
        print_json({**counts, "settled_before": before, "dry_run": act.dry_run, "seconds": round(seconds, 3)})
        return
    moved_to = "would be moved to" if act.dry_run else "moved to"
    what = "restored from" if before is None else f"settled before {time_text(before)} {moved_to}"
    say(f"{counted(moved, 'order')} {what} the archive in {seconds:,.1f} s.")


def _counted(tables: Sequence[str], parts: Iterable[Purged]) -> dict[str, int]:
    counts = dict.fromkeys(tables, 0)
    with progress("looking for old rows") as show:
        for table, rows in parts:
            counts[table] += rows
            show(f"{sum(counts.values()):,} rows", 0)
    return counts
