"""`reconciler notifications`: where results are sent, which were, which wait and which were given up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console

from worker.cli.acting import Act, By, OptionalReason, Yes, acting_session, confirm
from worker.cli.errors import CommandError
from worker.cli.listing import PAGE_ROWS, After, AsCsv, Limit, cut, name_next_page, require_one_format, write_csv
from worker.cli.output import SKIN, AsJson, InUtc, console, counted, duration_text, print_json, print_table
from worker.cli.session import session
from worker.domain.notifications.endpoint_watch import EndpointView
from worker.domain.records import csv_columns
from worker.domain.records.notifications import NotificationState
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_endpoints import forget_endpoint, pause_notifications, resume_notifications
from worker.views.notifications import recent_notifications, watched_endpoints
from worker.views.page import every_row
from worker.words.findings import endpoint_in_words

Row = Mapping[str, Any]

_ENDPOINT_COLUMNS = ("account", "to", "takes", "now", "pending", "oldest", "gave_up")


def endpoint_rows(views: Sequence[EndpointView]) -> list[Row]:
    """A row for each account that has an endpoint, or notifications that nobody has received."""
    return [_endpoint_row(view) for view in views]


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
    print_table(out, _ENDPOINT_COLUMNS, listed, title="Endpoints", ids=("account",), long_texts=("takes", "now"))


def _ago(time: datetime, now: datetime) -> str:
    return f"for {duration_text((now - time).total_seconds())}"


def _endpoint_row(view: EndpointView) -> Row:
    endpoint, count = view.endpoint, view.count
    names = ("transport", "events", "failing_since", "rest_until", "stopped_at", "paused_at", "paused_by")
    return {
        "account": view.account,
        "to": None if endpoint is None else endpoint.shown,
        "in_words": endpoint_in_words(view, SKIN),
        "pending": count.pending,
        "oldest_changed_at": count.oldest_changed_at,
        "gave_up": count.gave_up,
        **{name: getattr(endpoint, name, None) for name in names},
    }


_COLUMNS = ("id", "account", "order", "type", "changed_at", "state", "tries", "due_at", "outcome", "answer")

Pending = Annotated[bool, typer.Option("--pending", help="Only those that nobody has received yet.")]
GaveUp = Annotated[bool, typer.Option("--gave-up", help="Only those that failed too often: `reconciler resend` them.")]
Account = Annotated[str | None, typer.Option(help="Only those of this account.")]
Pause = Annotated[
    str | None,
    typer.Option("--pause", metavar="ACCOUNT", help="Send this account nothing for now."),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="ACCOUNT",
        help="Send to this account again at once: after a pause, out of a rest, or after it answered 410.",
    ),
]
Forget = Annotated[
    str | None,
    typer.Option(
        "--forget", metavar="ACCOUNT", help="Remove this account's endpoint, and all that nobody has received."
    ),
]


def notifications(
    pending: Pending = False,
    gave_up: GaveUp = False,
    account: Account = None,
    pause: Pause = None,
    resume: Resume = None,
    forget: Forget = None,
    reason: OptionalReason = None,
    by: By = None,
    yes: Yes = False,
    after: After = None,
    limit: Limit = None,
    utc: InUtc = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show where results are sent, and the notifications of them, newest first: delivered, pending or given up.

    Or act on an endpoint, with --pause, --resume or --forget. What happens while it is paused waits. An endpoint that
    is forgotten comes back with the next start of a worker that has it in its settings: remove it there first.

    Examples:
      reconciler notifications
      reconciler notifications --gave-up --account shop --json
      reconciler notifications --pause shop --reason "the billing system is being moved"
      reconciler notifications --resume shop
    """
    acts = [(name, of) for name, of in (("pause", pause), ("resume", resume), ("forget", forget)) if of is not None]
    if len(acts) + pending + gave_up > 1:
        raise typer.BadParameter("give one of --pending, --gave-up, --pause, --resume and --forget")
    require_one_format(as_json, as_csv)
    if acts:
        ((act, of),) = acts
        _act(act, of, Act(reason=reason, by=by).operator(), yes=yes, as_json=as_json)
        return
    _list(_state_of(pending, gave_up), account, after, limit, utc=utc, as_json=as_json, as_csv=as_csv)


def _state_of(pending: bool, gave_up: bool) -> NotificationState | None:
    return NotificationState.PENDING if pending else NotificationState.GAVE_UP if gave_up else None


def _list(
    state: NotificationState | None,
    account: str | None,
    after: int | None,
    limit: int | None,
    *,
    utc: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    most = limit or PAGE_ROWS
    with session(utc=utc, streams=as_csv) as opened, opened.database.snapshot() as connection:
        read = partial(recent_notifications, connection, account=account, state=state)
        if as_csv and limit is None:
            write_csv(csv_columns.NOTIFICATIONS, every_row(read, after))
            return
        now = opened.database.now(connection)
        endpoints = endpoint_rows(watched_endpoints(connection, now))
        page = read(after=after, most=most + 1)
    rows, is_more = cut(page.rows, most)
    if as_json:
        print_json({"endpoints": endpoints, "notifications": rows})
    elif as_csv:
        write_csv(csv_columns.NOTIFICATIONS, rows)
    else:
        _show(endpoints, rows, now, is_complete=not page.is_stopped)
    if is_more:
        name_next_page(rows[-1]["id"])
    elif page.is_stopped:
        until = page.next_after
        typer.echo(f"Searched the notifications since {until}; for older ones: --after {until}", err=True)


def table_row(row: Row) -> Row:
    """The same for people."""
    is_pending = row["state"] == "pending"
    outcome = " ".join(str(part) for part in (row["outcome"], row["http_status"]) if part is not None)
    order = row["request_id"] or row["custom_parm"]
    return {**row, "order": order, "due_at": row["due_at"] if is_pending else None, "outcome": outcome or None}


def _show(endpoints: Sequence[Row], rows: Sequence[Row], now: datetime, *, is_complete: bool) -> None:
    out = console()
    if endpoints:
        show_endpoints(out, endpoints, now)
    else:
        typer.echo("Nobody is notified of results: docs/notifications.md says how to set it.")
    if rows:
        print_table(
            out,
            _COLUMNS,
            [table_row(row) for row in rows],
            title="Notifications",
            ids=("account", "order"),
            long_texts=("answer",),
        )
    elif is_complete:
        typer.echo("No such notifications.")


def _act(act: str, account: str, who: Operator, *, yes: bool, as_json: bool) -> None:
    with acting_session() as opened:
        with opened.database.read() as connection:
            views = watched_endpoints(connection, opened.database.now(connection))
        view = next((view for view in views if view.account == account), None)
        removed = 0
        endpoint, waiting = (None, 0) if view is None else (view.endpoint, view.count.pending + view.count.gave_up)
        if endpoint is None and not (act == "forget" and waiting):
            raise CommandError(
                f"the account {account} has no endpoint; `reconciler notifications` lists those that have"
            )
        if act == "forget":
            to = "" if endpoint is None else f" to {endpoint.shown}"
            waits = f"{counted(waiting, 'notification')} of {account}{to} will never be sent."
            confirm(waits, "Forget the endpoint?", yes=yes or not waiting)
            _, removed = forget_endpoint(opened.database, who, account)
        elif act == "pause":
            pause_notifications(opened.database, who, account)
        else:
            resume_notifications(opened.database, who, account)
    if as_json:
        print_json({"account": account, "act": act, **({"removed": removed} if act == "forget" else {})})
        return
    words = {
        "pause": f"{account} is sent nothing until `reconciler notifications --resume {account}`.",
        "resume": f"{account} is notified of its orders again.",
        "forget": f"{account} has no endpoint any more; {counted(removed, 'notification')} went with it.",
    }
    typer.echo(words[act])
