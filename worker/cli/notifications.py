"""`reconciler notifications`: where results are sent, which were, wait or were given up; and what acts on endpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console

from worker.cli.act_base import Act, Yes, acting_session, confirm, read_actor, read_reason
from worker.cli.declare import new_group
from worker.cli.errors import CommandError
from worker.cli.listing import Listing, Paged
from worker.cli.output import SKIN, console, counted, duration_text, print_table
from worker.cli.session import OneAccount, Session, account_names
from worker.domain.notifications.endpoint_watch import EndpointView
from worker.domain.records import csv_columns
from worker.domain.records.notifications import NotificationState
from worker.operations.act_on_endpoints import forget_endpoint, pause_notifications, resume_notifications
from worker.views.notifications import recent_notifications, watched_endpoints
from worker.words.monitoring_findings import endpoint_in_words

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


Pending = Annotated[bool, typer.Option("--pending", help="Only those that nobody has received yet.")]
GaveUp = Annotated[bool, typer.Option("--gave-up", help="Only those that failed too often: `reconciler resend` them.")]
Account = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="The account of the endpoint.", autocompletion=account_names)
]


def _hidden(name: str, **more: Any) -> Any:
    return typer.Option(name, hidden=True, **more)


@dataclass(frozen=True, kw_only=True)
class OldFlags:
    """The acts as options, which they were before they were commands: they go with the next release."""

    pause: Annotated[str | None, _hidden("--pause")] = None
    resume: Annotated[str | None, _hidden("--resume")] = None
    forget: Annotated[str | None, _hidden("--forget")] = None
    reason: Annotated[str | None, _hidden("--reason", callback=read_reason)] = None
    by: Annotated[str | None, _hidden("--by", callback=read_actor)] = None
    yes: Annotated[bool, _hidden("--yes")] = False

    def act(self, *, lists: bool, as_json: bool) -> bool:
        """Act as they say; returns whether they said anything. `lists`: whether an option of the list stands beside."""
        commands: dict[str, Callable[..., None]] = {
            "pause": pause,
            "resume": resume,
            "forget": partial(forget, yes=self.yes),
        }
        named = {name: getattr(self, name) for name in commands if getattr(self, name) is not None}
        if len(named) + (lists and bool(named)) > 1:
            raise typer.BadParameter("give one of --pending, --gave-up, --pause, --resume and --forget")
        for name, account in named.items():
            warning = f"--{name} goes with the next release: `reconciler notifications {name} {account}` does the same"
            typer.echo(f"Warning: {warning}", err=True)
            commands[name](account, act=Act(reason=self.reason, by=self.by, as_json=as_json))
        return bool(named)


def notifications(
    ctx: typer.Context,
    pending: Pending = False,
    gave_up: GaveUp = False,
    account: OneAccount = None,
    *,
    old: OldFlags,
    page: Paged,
) -> None:
    """Show where results are sent, and the notifications of them, newest first: delivered, pending or given up.

    Or act on an endpoint: pause, resume or forget it.

    Examples:
      reconciler notifications
      reconciler notifications --gave-up --account shop --json
      reconciler notifications pause shop --reason "the billing system is being moved"
      reconciler notifications resume shop
    """
    if _is_act(ctx):
        return
    state = _state_of(pending, gave_up)
    if old.act(lists=state is not None, as_json=page.as_json):
        return
    with page.session() as opened, opened.database.snapshot() as connection:
        now = opened.database.now(connection)
        endpoints = endpoint_rows(watched_endpoints(connection, now))
        found = page.read(_NOTIFICATIONS, partial(recent_notifications, connection, account=account, state=state))
    page.show(
        _NOTIFICATIONS,
        found,
        response=lambda rows: {"endpoints": endpoints, "notifications": rows},
        before=lambda: _show_endpoints(endpoints, now),
    )


def _is_act(ctx: typer.Context) -> bool:
    """Whether a command follows. Raises BadParameter where it would lose options that stand before it."""
    if ctx.invoked_subcommand is not None and any(ctx.params.values()):
        raise typer.BadParameter(f"options of `{ctx.invoked_subcommand}` stand behind it")
    return ctx.invoked_subcommand is not None


def _state_of(pending: bool, gave_up: bool) -> NotificationState | None:
    if pending and gave_up:
        raise typer.BadParameter("give one of --pending and --gave-up")
    return NotificationState.PENDING if pending else NotificationState.GAVE_UP if gave_up else None


def pause(account: Account, *, act: Act) -> None:
    """Send an account nothing for now. What happens meanwhile waits.

    Examples:
      reconciler notifications pause shop --reason "the billing system is being moved"
    """
    who = act.operator()
    with acting_session() as opened:
        _endpoint_of(opened, account)
        if not act.dry_run:
            pause_notifications(opened.database, who, account)
    _end("pause", account, act, f"{account} is sent nothing until `reconciler notifications resume {account}`.")


def resume(account: Account, *, act: Act) -> None:
    """Send to an account again at once: after a pause, out of a rest, or after it answered 410.

    Examples:
      reconciler notifications resume shop
    """
    who = act.operator()
    with acting_session() as opened:
        _endpoint_of(opened, account)
        if not act.dry_run:
            resume_notifications(opened.database, who, account)
    _end("resume", account, act, f"{account} is notified of its orders again.")


def forget(account: Account, yes: Yes = False, *, act: Act) -> None:
    """Remove an account's endpoint, and all that nobody has received.

    An endpoint that is forgotten comes back with the next start of a worker that has it in its settings: remove it
    there first.

    Examples:
      reconciler notifications forget shop --reason "it has no receiver any more"
    """
    who = act.operator()
    with acting_session() as opened:
        view = _endpoint_of(opened, account, or_rest=True)
        removed = view.count.pending + view.count.gave_up
        if not act.dry_run:
            to = "" if view.endpoint is None else f" to {view.endpoint.shown}"
            waits = f"{counted(removed, 'notification')} of {account}{to} will never be sent."
            confirm(waits, "Forget the endpoint?", yes=yes or not removed)
            _, removed = forget_endpoint(opened.database, who, account)
    words = f"{account} has no endpoint any more; {counted(removed, 'notification')} went with it."
    _end("forget", account, act, words, removed=removed)


def table_row(row: Row) -> Row:
    """The same for people."""
    is_pending = row["state"] == "pending"
    outcome = " ".join(str(part) for part in (row["outcome"], row["http_status"]) if part is not None)
    order = row["request_id"] or row["custom_parm"]
    return {**row, "order": order, "due_at": row["due_at"] if is_pending else None, "outcome": outcome or None}


def _show_endpoints(endpoints: Sequence[Row], now: datetime) -> None:
    if endpoints:
        show_endpoints(console(), endpoints, now)
    else:
        typer.echo("Nobody is notified of results: docs/notifications.md says how to set it.")


def _endpoint_of(opened: Session, account: str, *, or_rest: bool = False) -> EndpointView:
    """The account's endpoint. Raises CommandError where it has none; with `or_rest` only where it has no notifications
    either."""
    with opened.database.read() as connection:
        views = watched_endpoints(connection, opened.database.now(connection))
    for view in views:
        if view.account == account and (view.endpoint or (or_rest and view.count.pending + view.count.gave_up)):
            return view
    raise CommandError(f"the account {account} has no endpoint; `reconciler notifications` lists those that have")


def _end(name: str, account: str, act: Act, words: str, **more: object) -> None:
    if act.as_json:
        act.print_json({"account": account, "act": name, **more})
    else:
        act.say(words)


_NOTIFICATIONS = Listing(
    rows="notifications",
    none="No such notifications.",
    csv=csv_columns.NOTIFICATIONS,
    columns=("id", "account", "order", "type", "changed_at", "state", "tries", "due_at", "outcome", "answer"),
    table_row=table_row,
    ids=("account", "order"),
    long_texts=("answer",),
    title="Notifications",
)

app = new_group(notifications, {"pause": pause, "resume": resume, "forget": forget}, invoke_without_command=True)
