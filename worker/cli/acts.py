"""`reconciler acts`: what operators did by hand, and why."""

from datetime import datetime
from functools import partial
from typing import Annotated

import typer

from worker.cli.completion import account_names
from worker.cli.listing import After, AsCsv, cut, name_next_page, require_one_format, write_csv
from worker.cli.output import AsJson, InUtc, console, print_json, print_table, time_text
from worker.cli.session import require_known, session
from worker.domain.records import csv_columns
from worker.domain.records.coded_texts import CodedText
from worker.views.acts import recent_acts
from worker.views.page import every_row

_COLUMNS = ("at", "actor", "act", "account", "detail", "reason")
_TIMES = ("time", "until")

Accounts = Annotated[
    list[str] | None,
    typer.Option(
        "--account", help="Only acts on this account or on all; may be repeated.", autocompletion=account_names
    ),
]
_PAGE_ROWS = 50
Limit = Annotated[
    int | None,
    typer.Option(
        min=1, max=1_000_000, help=f"How many acts to show at most. Default: {_PAGE_ROWS}, and with --csv all."
    ),
]


def acts(
    account: Accounts = None,
    after: After = None,
    limit: Limit = None,
    utc: InUtc = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Show what operators did to orders and accounts, newest first: who, when, what and why.

    An act on orders is one line for each account and each thousand of them. `reconciler order` shows it in the history
    of each.

    Examples:
      reconciler acts
      reconciler acts --account shop --limit 500 --csv > acts.csv
      reconciler acts --json
    """
    require_one_format(as_json, as_csv)
    most = limit or _PAGE_ROWS
    with session(utc=utc, streams=as_csv) as opened:
        require_known(opened, account or ())
        with opened.database.snapshot() as connection:
            read = partial(recent_acts, connection, account or ())
            if as_csv and limit is None:
                write_csv(csv_columns.ACTS, every_row(read, after))
                return
            page = read(after=after, most=most + 1)
    found, is_more = cut(page.rows, most)
    if as_json:
        print_json(found)
    elif as_csv:
        write_csv(csv_columns.ACTS, found)
    elif not found:
        typer.echo("No operator has acted yet.")
    else:
        rows = [
            {**act, "account": act["account"] or "all", "detail": _with_local_times(act["detail"])} for act in found
        ]
        print_table(console(), _COLUMNS, rows, ids=("account",), long_texts=("detail", "reason"))
    if is_more:
        name_next_page(found[-1]["id"])


def _with_local_times(detail: str | None) -> str | None:
    if not isinstance(detail, CodedText):
        return detail
    times = {name: time_text(datetime.fromisoformat(detail.values[name])) for name in _TIMES if name in detail.values}
    return detail.having(**times)
