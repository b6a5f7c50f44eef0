"""`reconciler acts`: what operators did by hand, and why."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from worker.cli.completion import account_names
from worker.cli.csv_output import AsCsv, require_one_format, write_csv
from worker.cli.output import AsJson, InUtc, console, print_json, print_table, time_text
from worker.domain.records import csv_columns

_COLUMNS = ("at", "actor", "act", "account", "detail", "reason")
# As a record holds the end of a pause or of a hold.
_UTC_TIME = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")

Accounts = Annotated[
    list[str] | None,
    typer.Option(
        "--account", help="Only acts on this account or on all; may be repeated.", autocompletion=account_names
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many acts to show at most.")]


def acts(
    account: Accounts = None, limit: Limit = 50, utc: InUtc = False, as_csv: AsCsv = False, as_json: AsJson = False
) -> None:
    """Show what operators did to orders and accounts, newest first: who, when, what and why.

    An act on orders is one line for each account and each thousand of them. `reconciler order` shows it in the history
    of each.
    """
    from worker.cli.session import require_known, session
    from worker.stores.recorded_acts import recent_acts

    require_one_format(as_json, as_csv)
    with session(utc=utc) as opened:
        require_known(opened, account or ())
        with opened.database.read() as connection:
            found = recent_acts(connection, limit=limit, accounts=account or ())
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


def _with_local_times(detail: str | None) -> str | None:
    def local(found: re.Match[str]) -> str:
        return time_text(datetime.strptime(found[0], "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC))

    return None if detail is None else _UTC_TIME.sub(local, detail)
