"""`reconciler rejected` and `unmatched`: refused input, and callbacks of unknown orders."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from worker.adapters.safe_text import one_line
from worker.adapters.shown_values import indented_json
from worker.cli.acts import By, Reason, Yes, confirm, system_user
from worker.cli.app import CommandError
from worker.cli.declare import WrongUse
from worker.cli.listing import Listing, Paged, write_csv
from worker.cli.output import (
    console,
    counted,
    in_words,
    print_fields,
    print_json,
    print_table,
    say,
    text,
)
from worker.cli.session import Accounts, Session, say_deleted
from worker.cli.times import TIME_RULE, Day, Days
from worker.domain.finance.report import Period
from worker.domain.records import csv_columns
from worker.domain.records.sentences import _
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_rejected_and_unmatched import dismiss_rejected
from worker.process.intake import Intake
from worker.settings.rules import app_ids_of, rules_of
from worker.views.page import ROWS_AT_ONCE
from worker.views.rejected_and_unmatched import (
    LONG_ROWS_AT_ONCE,
    open_rejected_ids,
    recent_rejected,
    recent_unmatched,
    rejected_by_id,
)

Row = dict[str, Any]

_LONGEST_SHOWN = 200

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", min=1, help="Show this row, whole; with --retry, several.")
]
Retry = Annotated[
    bool, typer.Option("--retry", help="Take the rows in once more, after a correction; those that are taken in go.")
]
Dismiss = Annotated[
    bool, typer.Option("--dismiss", help="Dismiss these rows as dealt with, or all open ones of a --source and --day.")
]
Source = Annotated[
    list[str] | None, typer.Option("--source", help="Only what this task or command brought; may be repeated.")
]
Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only what was received then or later: {TIME_RULE}.")]
Before = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only what was received before then: {TIME_RULE}.")]


def rejected(
    ids: Ids = None,
    retry: Retry = False,
    dismiss: Dismiss = False,
    by: By = None,
    reason: Reason = None,
    yes: Yes = False,
    source: Source = None,
    since: Since = None,
    day: Day = None,
    *,
    page: Paged,
) -> None:
    """Show refused input, newest first; or one row with its payload and all faults; or retry or dismiss rows.

    With --retry, the stored payload is taken in again. Items that are taken in, or are already known, leave the list.
    Items that are refused again stay with their new faults, and the exit status is 1. Retrying a row twice does not
    take anything in twice. With --dismiss, rows stay in the list, but are no longer open, and leave `reconciler todo`.
    A refused order is also no longer open once it is taken in. `reconciler acts` lists retries and dismissals.

    Examples:
      reconciler rejected
      reconciler rejected 12
      reconciler rejected --retry 12 13
      reconciler rejected --dismiss 12 --reason "sent again under another id"
      reconciler rejected --dismiss --source "reconciler enqueue" --day yesterday
      reconciler rejected --since 1d --csv
    """
    _check_usage(ids or [], retry, dismiss, is_named=bool(source and day), has_two_times=bool(since and day))
    with page.session(needs_accounts=retry) as opened:
        period = None if day is None else Days(from_=day).period(opened.settings.zone, opened.now())
        if retry:
            _retry(opened, ids or [], by, page.as_json)
        if dismiss:
            who = Operator(name=by or system_user(), reason=reason)
            _dismiss(opened, who, ids or [], source or [], period, yes, page.as_json)
        if ids:
            _show_one(opened, ids[0], page)
            return
        start, end = (period.start, period.end) if period else (opened.time_of("--since", since), None)
        with opened.database.snapshot() as connection:
            read = partial(recent_rejected, connection, sources=source or (), since=start, until=end)
            found = page.read(_REJECTED, read)
    page.show(_REJECTED, found)


def unmatched(
    account: Accounts = None,
    before: Before = None,
    *,
    page: Paged,
) -> None:
    """Show the callbacks whose order is unknown, newest first. They settle the order as soon as it is enqueued.

    Old callbacks (`--before 1d` shows them) mean that orders were never enqueued, or were enqueued under other ids. An
    order may also have been deleted: after a `reconciler purge --orders`, a line on standard error says up to which
    time orders were deleted.

    Examples:
      reconciler unmatched
      reconciler unmatched --before 1d --account shop
    """
    with page.session() as opened:
        end = opened.time_of("--before", before)
        with opened.database.snapshot() as connection:
            found = page.read(_UNMATCHED, partial(recent_unmatched, connection, accounts=account or (), before=end))
        say_deleted(opened)
    page.show(_UNMATCHED, found)


def _check_usage(ids: list[int], retry: bool, dismiss: bool, *, is_named: bool, has_two_times: bool) -> None:
    if (retry and dismiss) or has_two_times:
        raise WrongUse("give either --retry or --dismiss, and either --since or --day")
    if retry and not ids:
        raise WrongUse("--retry needs the ids of the rows to retry")
    if dismiss and bool(ids) == is_named:
        raise WrongUse("--dismiss needs the ids of the rows to dismiss, or --source and --day")
    if len(ids) > 1 and not (retry or dismiss):
        raise WrongUse("one ID is shown at a time; several are for --retry and --dismiss")


def _dismiss(
    opened: Session, who: Operator, ids: list[int], sources: list[str], day: Period | None, yes: bool, as_json: bool
) -> None:
    ids = [*dict.fromkeys(ids)]
    which = ", ".join(map(str, ids))
    if day is not None:
        which = f"{', '.join(sources)}, {day.first}"
        with opened.database.read() as connection:
            ids = [*open_rejected_ids(connection, sources, day)]
        if ids:
            what = _("%(rows)s of %(which)s will be dismissed.", counted(len(ids), "row"), which)
            confirm(what, _("Dismiss what was refused?"), yes=yes)
    done = dismiss_rejected(opened.database, who, ids, which)
    if as_json:
        print_json({"dismissed": done})
    else:
        say("%(count)s of %(rows)s dismissed.", f"{done:,}", counted(len(ids), "row"))
    raise typer.Exit(1 if done < len(ids) else 0)


def _retry(opened: Session, ids: list[int], by: str | None, as_json: bool) -> None:
    intake = Intake(opened.database, rules_of(opened.settings), app_ids_of(opened.settings))
    answers: list[Any] = [intake.retry_rejected(row_id, actor=by or system_user()) for row_id in dict.fromkeys(ids)]
    refused = [answer for answer in answers if answer["errors"]]
    if as_json:
        print_json(answers)
    else:
        for answer in refused:
            why = text("; ").join(one_line(in_words(one)) for one in answer["errors"])
            say("Refused: row %(row)s: %(why)s", answer["id"], why, err=True)
        done = sum(answer["done"] for answer in answers)
        say("%(items)s of %(rows)s taken in.", counted(done, "item"), counted(len(answers), "row"))
    raise typer.Exit(1 if refused else 0)


def _show_one(opened: Session, row_id: int, page: Paged) -> None:
    with opened.database.read() as connection:
        row = rejected_by_id(connection, row_id)
    if row is None:
        raise CommandError("there is no refused row %(row)s; `reconciler rejected` lists the newest ones", row_id)
    if page.as_json:
        print_json(row)
    elif page.as_csv:
        write_csv(csv_columns.REJECTED, [row])
    else:
        out = console()
        print_fields(out, {name: row[name] for name in ("id", "received_at", "source", "repeats", "is_open")})
        print_table(out, ("fault",), [{"fault": one} for one in in_words(row["errors"]).split("\n")])
        print_table(out, ("payload",), [{"payload": line} for line in indented_json(row["payload"]).split("\n")])


def _table_row(row: Row) -> Row:
    return {**row, **{name: _short(row[name]) for name in ("errors", "payload") if name in row}}


def _short(text: str) -> str:
    text = text.replace("\n", "; ")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


_REJECTED = Listing(
    rows="rows",
    none=_("There are none."),
    csv=csv_columns.REJECTED,
    columns=csv_columns.REJECTED,
    table_row=_table_row,
    ids=("request_id", "custom_parm"),
    long_texts=("errors", "payload"),
    at_once=LONG_ROWS_AT_ONCE,
)
_UNMATCHED = replace(_REJECTED, csv=csv_columns.UNMATCHED, columns=csv_columns.UNMATCHED, at_once=ROWS_AT_ONCE)
