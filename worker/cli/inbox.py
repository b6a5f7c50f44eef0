"""`reconciler rejected` and `unmatched`: what came in and could not be placed."""

from functools import partial
from typing import Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.adapters.shown_values import indented_json
from worker.cli.acting import By, system_user
from worker.cli.completion import account_names
from worker.cli.errors import CommandError
from worker.cli.listing import PAGE_ROWS, After, AsCsv, Limit, cut, name_next_page, require_one_format, write_csv
from worker.cli.output import AsJson, InUtc, console, counted, print_fields, print_json, print_table
from worker.cli.session import Session, session
from worker.cli.times import TIME_RULE, read_time
from worker.domain.records import csv_columns
from worker.intake import Intake
from worker.runtime import app_ids_of, rules_of
from worker.views.inbox import LONG_ROWS_AT_ONCE, recent_rejected, recent_unmatched, rejected_by_id
from worker.views.page import Page, every_row

Row = dict[str, Any]

_LONGEST_SHOWN = 200

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", min=1, help="Show this row, whole; with --retry, several.")
]
Retry = Annotated[
    bool, typer.Option("--retry", help="Take the rows in once more, after a correction; those that are taken in go.")
]
Source = Annotated[
    list[str] | None, typer.Option("--source", help="Only what this task or command brought; may be repeated.")
]
Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only what was received then or later: {TIME_RULE}.")]
Before = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only what was received before then: {TIME_RULE}.")]
Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", help="Only of this account; may be repeated.", autocompletion=account_names),
]


def rejected(
    ids: Ids = None,
    retry: Retry = False,
    by: By = None,
    source: Source = None,
    since: Since = None,
    after: After = None,
    limit: Limit = None,
    utc: InUtc = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show the input that was refused, newest first; or one row with its payload and all faults; or retry rows.

    With --retry the stored payload is given to the same intake again. What is taken in, or was known already, goes from
    the list; what is refused once more stays with the new faults, and the exit status is 1. Retrying a row twice takes
    nothing in twice. `reconciler acts` lists who retried what.

    Examples:
      reconciler rejected
      reconciler rejected 12
      reconciler rejected --retry 12 13
      reconciler rejected --since 1d --csv
    """
    require_one_format(as_json, as_csv)
    _check_usage(ids or [], retry)
    most = limit or PAGE_ROWS
    with session(needs_accounts=retry, utc=utc, streams=as_csv) as opened:
        if retry:
            _retry(opened, ids or [], by, as_json)
        if ids:
            _show_one(opened, ids[0], as_json, as_csv)
            return
        with opened.database.snapshot() as connection:
            now, zone = opened.database.now(connection), opened.settings.zone
            time = None if since is None else read_time("--since", since, now, zone)
            read = partial(recent_rejected, connection, sources=source or (), since=time)
            if as_csv and limit is None:
                write_csv(csv_columns.REJECTED, every_row(read, after, at_once=LONG_ROWS_AT_ONCE))
                return
            page = read(after=after, most=most + 1)
    _show_list(page, csv_columns.REJECTED, most, as_json, as_csv)


def unmatched(
    account: Accounts = None,
    before: Before = None,
    after: After = None,
    limit: Limit = None,
    utc: InUtc = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show the callbacks whose order is not known, newest first. They settle it as soon as it is enqueued.

    Old ones mean that orders were never enqueued, or under other ids: `--before 1d` shows these.

    Examples:
      reconciler unmatched
      reconciler unmatched --before 1d --account shop
    """
    require_one_format(as_json, as_csv)
    most = limit or PAGE_ROWS
    with session(utc=utc, streams=as_csv) as opened, opened.database.snapshot() as connection:
        now, zone = opened.database.now(connection), opened.settings.zone
        time = None if before is None else read_time("--before", before, now, zone)
        read = partial(recent_unmatched, connection, accounts=account or (), before=time)
        if as_csv and limit is None:
            write_csv(csv_columns.UNMATCHED, every_row(read, after))
            return
        page = read(after=after, most=most + 1)
    _show_list(page, csv_columns.UNMATCHED, most, as_json, as_csv)


def _check_usage(ids: list[int], retry: bool) -> None:
    if retry and not ids:
        raise typer.BadParameter("--retry needs the ids of the rows to retry")
    if len(ids) > 1 and not retry:
        raise typer.BadParameter("one ID is shown at a time; several are for --retry")


def _retry(opened: Session, ids: list[int], by: str | None, as_json: bool) -> None:
    intake = Intake(opened.database, rules_of(opened.settings), app_ids_of(opened.settings))
    answers: list[Any] = [intake.retry_rejected(row_id, actor=by or system_user()) for row_id in dict.fromkeys(ids)]
    refused = [answer for answer in answers if answer["errors"]]
    if as_json:
        print_json(answers)
    else:
        for answer in refused:
            typer.echo(f"Refused: row {answer['id']}: {one_line('; '.join(answer['errors']))}", err=True)
        done = sum(answer["done"] for answer in answers)
        typer.echo(f"{counted(done, 'item')} of {counted(len(answers), 'row')} taken in.")
    raise typer.Exit(1 if refused else 0)


def _show_one(opened: Session, row_id: int, as_json: bool, as_csv: bool) -> None:
    with opened.database.read() as connection:
        row = rejected_by_id(connection, row_id)
    if row is None:
        raise CommandError(f"there is no refused row {row_id}; `reconciler rejected` lists the newest ones")
    if as_json:
        print_json(row)
    elif as_csv:
        write_csv(csv_columns.REJECTED, [row])
    else:
        out = console()
        print_fields(out, {name: row[name] for name in ("id", "received_at", "source", "repeats")})
        print_table(out, ("fault",), [{"fault": fault} for fault in row["errors"].split("\n")])
        print_table(out, ("payload",), [{"payload": line} for line in indented_json(row["payload"]).split("\n")])


def _show_list(page: Page[Row], columns: tuple[str, ...], most: int, as_json: bool, as_csv: bool) -> None:
    rows, is_more = cut(page.rows, most)
    if as_json:
        print_json(rows)
    elif as_csv:
        write_csv(columns, rows)
    elif rows:
        shown = [{**row, **{name: _short(row[name]) for name in ("errors", "payload") if name in row}} for row in rows]
        print_table(console(), columns, shown, ids=("request_id", "custom_parm"), long_texts=("errors", "payload"))
    elif not page.is_stopped:
        typer.echo("There are none.")
    if is_more:
        name_next_page(rows[-1]["id"])
    elif page.is_stopped:
        typer.echo(f"Searched the rows since {page.next_after}; for older ones: --after {page.next_after}", err=True)


def _short(text: str) -> str:
    text = text.replace("\n", "; ")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
