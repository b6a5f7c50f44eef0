"""Endpoints as `reconciler notifications` and `status` show them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console

from worker.cli.output import duration_text, print_table
from worker.domain.endpoint_watch import EndpointView, endpoint_in_words

Row = Mapping[str, Any]

_COLUMNS = ("account", "to", "takes", "now", "pending", "oldest", "gave_up")


def endpoint_rows(views: Sequence[EndpointView], now: datetime) -> list[Row]:
    """A row for each account that has an endpoint, or notifications that nobody has received."""
    return [_row(view, now) for view in views]


def show_endpoints(out: Console, rows: Sequence[Row], now: datetime) -> None:
    """Print them for people."""
    listed = [
        {
            **row,
            "takes": row["events"] or "all",
            "now": row["in_words"],
            "pending": f"{row['pending']:,}",
            "oldest": None if row["oldest_changed_at"] is None else _ago(row["oldest_changed_at"], now),
            "gave_up": f"{row['gave_up']:,}",
        }
        for row in rows
    ]
    print_table(out, _COLUMNS, listed, title="Endpoints", ids=("account",), long_texts=("takes", "now"))


def _ago(time: datetime, now: datetime) -> str:
    return f"for {duration_text((now - time).total_seconds())}"


def _row(view: EndpointView, now: datetime) -> Row:
    endpoint, count = view.endpoint, view.count
    names = ("transport", "events", "failing_since", "rest_until", "stopped_at", "paused_at", "paused_by")
    return {
        "account": view.account,
        "to": None if endpoint is None else endpoint.shown,
        "in_words": "has no endpoint: nothing is sent" if endpoint is None else endpoint_in_words(endpoint, count, now),
        "pending": count.pending,
        "oldest_changed_at": count.oldest_changed_at,
        "gave_up": count.gave_up,
        **{name: getattr(endpoint, name, None) for name in names},
    }
