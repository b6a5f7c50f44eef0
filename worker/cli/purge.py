"""`reconciler purge`: deletes what is old and what nothing refers to any more."""

import time
from typing import Annotated

import typer

from worker.cli.csv_output import AsCsv, require_one_format, write_csv
from worker.cli.output import AsJson, InUtc, console, counted, print_json, print_table, progress, time_text
from worker.cli.times import TIME_RULE, read_time

_TABLES = ("archived_orders", "rejected_orders", "unmatched_callbacks", "platform_queries")

OlderThan = Annotated[
    str, typer.Option("--older-than", metavar="TIME", help=f"{TIME_RULE}. At least 30 days ago.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would be deleted, and delete nothing.")]


def purge(
    older_than: OlderThan,
    dry_run: DryRun = False,
    utc: InUtc = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Delete for good: archived orders, refused input and unmatched callbacks that are older than a time, and queries
    whose orders are all gone.

    An archived order is old by its submission and its settlement. Orders outside the archive stay, whatever their age,
    and so does every query that the history of an order refers to. An order that was deleted is not known any more:
    sent again, it is new.

    At most 1,000 rows go in one transaction, so it may run beside the worker; a run that was interrupted is repeated.
    """
    from worker.cli.session import session
    from worker.operations.purge import LEAST_AGE
    from worker.operations.purge import purge as delete

    require_one_format(as_json, as_csv)
    started = time.monotonic()
    counts = dict.fromkeys(_TABLES, 0)
    with session(utc=utc) as opened:
        with opened.database.read() as connection:
            now = opened.database.now(connection)
        before = read_time("--older-than", older_than, now, opened.settings.zone)
        if before > now - LEAST_AGE:
            raise typer.BadParameter(f"--older-than {older_than} is less than 30 days ago; accepted: 30d or older")
        with progress("looking for old rows") as show:
            for table, rows in delete(opened.database, before, dry_run=dry_run):
                counts[table] += rows
                show(f"{sum(counts.values()):,} rows", 0)
    seconds = time.monotonic() - started
    if as_json:
        print_json({"older_than": before, "dry_run": dry_run, "rows": counts, "seconds": round(seconds, 3)})
        return
    listed = [{"table": table, "rows": rows} for table, rows in counts.items()]
    if as_csv:
        write_csv(("table", "rows"), listed)
        return
    print_table(console(), ("table", "rows"), listed)
    what = "would be deleted" if dry_run else "deleted"
    typer.echo(f"{counted(sum(counts.values()), 'row')} from before {time_text(before)} {what} in {seconds:,.1f} s.")
