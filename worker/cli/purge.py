"""`reconciler purge`: deletes what is old and what nothing refers to any more."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from worker.adapters import shown_values
from worker.cli.act_base import Act, Yes, acting_session, confirm, require_answer
from worker.cli.listing import AsCsv, require_one_format, write_csv
from worker.cli.output import InUtc, console, counted, print_json, print_table, progress, time_text
from worker.cli.session import Session
from worker.cli.times import TIME_RULE, read_time
from worker.database.transactions import Database
from worker.domain.orders.retention import PURGED_FROM
from worker.domain.records.acts import ActKind
from worker.domain.records.coded_texts import TextCode
from worker.operations.long_acts import LongAct
from worker.operations.purge import Purged
from worker.operations.purge import purge as delete

_TABLES = ("archived_orders", "rejected_orders", "unmatched_callbacks", "platform_queries")

OlderThan = Annotated[str, typer.Option("--older-than", metavar="TIME", help=f"{TIME_RULE}. At least 30 days ago.")]


def purge(
    older_than: OlderThan,
    yes: Yes = False,
    utc: InUtc = False,
    as_csv: AsCsv = False,
    *,
    act: Act,
) -> None:
    """Delete for good: archived orders, refused input and unmatched callbacks that are older than a time, and queries
    whose orders are all gone.

    An archived order is old by its submission and its settlement. Orders outside the archive stay, whatever their age,
    and so does every query that the history of an order refers to. An order that was deleted is not known any more:
    sent again, it is new.

    At most 1,000 rows go in one transaction, so it may run beside the worker; a run that was interrupted is repeated.
    Before that the rows are counted, and you are asked; with --yes you are not.

    Examples:
      reconciler purge --older-than 400d --dry-run
      reconciler purge --older-than 400d
    """
    require_one_format(act.as_json, as_csv)
    who = act.operator()
    with acting_session(utc=utc) as opened:
        before = _read_before(opened, older_than)
        if not (act.dry_run or yes):
            _ask(opened.database, before)
        started = time.monotonic()
        long_act = LongAct(who, ActKind.PURGE, TextCode.DONE_BEFORE, time=shown_values.time_text(before, UTC))
        counts = _counted(delete(opened.database, before, dry_run=act.dry_run, act=long_act))
        long_act.log_end()
    seconds = time.monotonic() - started
    if act.as_json:
        print_json({"older_than": before, "dry_run": act.dry_run, "rows": counts, "seconds": round(seconds, 3)})
        return
    _show(counts, as_csv)
    if not as_csv:
        what = "would be deleted" if act.dry_run else "deleted"
        typer.echo(
            f"{counted(sum(counts.values()), 'row')} from before {time_text(before)} {what} in {seconds:,.1f} s."
        )


def _read_before(opened: Session, older_than: str) -> datetime:
    with opened.database.read() as connection:
        now = opened.database.now(connection)
    before = read_time("--older-than", older_than, now, opened.settings.zone)
    if before > now - PURGED_FROM:
        raise typer.BadParameter(f"--older-than {older_than} is less than 30 days ago; accepted: 30d or older")
    return before


def _ask(database: Database, before: datetime) -> None:
    # Before the rows are counted, which may take minutes.
    require_answer(yes=False)
    found = _counted(delete(database, before, dry_run=True))
    old = counted(sum(found.values()), "row")
    confirm(f"Old and referred to by nothing: {old} from before {time_text(before)}.", "Delete?", yes=False)


def _show(counts: Mapping[str, int], as_csv: bool) -> None:
    listed = [{"table": table, "rows": rows} for table, rows in counts.items()]
    if as_csv:
        write_csv(("table", "rows"), listed)
    else:
        print_table(console(), ("table", "rows"), listed)


def _counted(parts: Iterable["Purged"]) -> dict[str, int]:
    counts = dict.fromkeys(_TABLES, 0)
    with progress("looking for old rows") as show:
        for table, rows in parts:
            counts[table] += rows
            show(f"{sum(counts.values()):,} rows", 0)
    return counts
