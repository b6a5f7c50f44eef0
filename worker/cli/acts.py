"""`reconciler acts`: what operators did by hand, and why."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from worker.cli.listing import Listing, Paged, Row, limit_option
from worker.cli.output import SKIN
from worker.cli.session import account_option, require_known
from worker.domain.records import csv_columns
from worker.views.acts import recent_acts
from worker.words.events import with_times

Accounts = Annotated[list[str] | None, account_option("Only acts on this account or on all; may be repeated.")]


@dataclass(frozen=True, kw_only=True)
class ActsPaged(Paged):
    """The options of a list, with a longer page."""

    limit: Annotated[int | None, limit_option(50, 1_000_000)] = None
    page_rows: ClassVar[int] = 50


def acts(account: Accounts = None, *, page: ActsPaged) -> None:
    """Show what operators did to orders and accounts, newest first: who, when, what and why.

    An act on orders is one line for each account and each thousand of them. `reconciler order` shows it in the history
    of each.

    Examples:
      reconciler acts
      reconciler acts --account shop --limit 500 --csv > acts.csv
      reconciler acts --json
    """
    with page.session() as opened:
        require_known(opened, account or ())
        with opened.database.snapshot() as connection:
            found = page.read(_ACTS, partial(recent_acts, connection, account or ()))
    page.show(_ACTS, found)


def _table_row(act: Row) -> dict[str, object]:
    return {**act, "account": act["account"] or "all", "detail": with_times(act["detail"], SKIN)}


_ACTS = Listing(
    rows="acts",
    none="No operator has acted yet.",
    csv=csv_columns.ACTS,
    columns=("at", "actor", "act", "account", "detail", "reason"),
    table_row=_table_row,
    long_texts=("detail", "reason"),
)
