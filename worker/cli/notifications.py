"""`reconciler notifications` and `notify-test`: list endpoints and notifications, act on endpoints, and send a test
event to a receiver."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from worker.adapters.clock import Clock, HostClock
from worker.adapters.notify import make_transport
from worker.cli.acts import Act, Yes, acting_session, confirm
from worker.cli.app import CommandError
from worker.cli.declare import WrongUse, new_group
from worker.cli.listing import Listing, Paged
from worker.cli.order import notification_row
from worker.cli.output import (
    SKIN,
    AsJson,
    console,
    counted,
    print_fields,
    print_json,
    print_table,
    say,
    text,
)
from worker.cli.session import OneAccount, Session, check_database, errors_in_one_line, read_settings
from worker.database.transactions import Database
from worker.domain.notifications.endpoint_watch import EndpointView
from worker.domain.notifications.events import body_of_test
from worker.domain.records import csv_columns
from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, EndpointSettings, NotificationState
from worker.domain.records.sentences import Sentence, _
from worker.operations.change_endpoints import forget_endpoint, pause_notifications, resume_notifications
from worker.operations.save_orders import new_event_id
from worker.settings import Settings
from worker.views.notifications import recent_notifications, watched_endpoints
from worker.words.sentences import endpoint_in_words

Row = Mapping[str, Any]

_ENDPOINT_COLUMNS = ("account", "to", "takes", "now", "pending", "oldest", "gave_up")


def endpoint_rows(views: Sequence[EndpointView]) -> list[Row]:
    """A row for each account that has an endpoint, or notifications that were not received."""
    return [_endpoint_row(view) for view in views]


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


Pending = Annotated[bool, typer.Option("--pending", help="Only those that were not received yet.")]
GaveUp = Annotated[bool, typer.Option("--gave-up", help="Only those that failed too often: `reconciler resend` them.")]
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account of the endpoint.")]


def notifications(
    ctx: typer.Context,
    pending: Pending = False,
    gave_up: GaveUp = False,
    account: OneAccount = None,
    *,
    page: Paged,
) -> None:
    """Show the endpoints that receive results, and the notifications, newest first: delivered, pending or given up.

    The commands pause, resume and forget act on an endpoint.

    Examples:
      reconciler notifications
      reconciler notifications --gave-up --account shop --json
      reconciler notifications pause shop --reason "the billing system is being moved"
      reconciler notifications resume shop
    """
    if _is_act(ctx):
        return
    state = _state_of(pending, gave_up)
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
    """Whether a subcommand follows. Raises WrongUse if options come before the subcommand, because they would be
    ignored."""
    if ctx.invoked_subcommand is not None and any(ctx.params.values()):
        raise WrongUse("options of `%(command)s` stand behind it", ctx.invoked_subcommand)
    return ctx.invoked_subcommand is not None


def _state_of(pending: bool, gave_up: bool) -> NotificationState | None:
    if pending and gave_up:
        raise WrongUse("give one of --pending and --gave-up")
    return NotificationState.PENDING if pending else NotificationState.GAVE_UP if gave_up else None


def pause(account: Account, *, act: Act) -> None:
    """Stop sending notifications to an account. New notifications wait until the pause ends.

    Examples:
      reconciler notifications pause shop --reason "the billing system is being moved"
    """
    who = act.operator()
    with acting_session() as opened:
        _endpoint_of(opened, account)
        if not act.dry_run:
            pause_notifications(opened.database, who, account)
    words = _("%(account)s is sent nothing until `reconciler notifications resume %(account)s`.", account)
    _end("pause", account, act, words)


def resume(account: Account, *, act: Act) -> None:
    """Send notifications to an account again at once: after a pause, during a rest, or after it answered 410.

    Examples:
      reconciler notifications resume shop
    """
    who = act.operator()
    with acting_session() as opened:
        _endpoint_of(opened, account)
        if not act.dry_run:
            resume_notifications(opened.database, who, account)
    _end("resume", account, act, _("%(account)s is notified of its orders again.", account))


def forget(account: Account, yes: Yes = False, *, act: Act) -> None:
    """Remove an account's endpoint, and all notifications that were not received.

    Remove the endpoint from the settings first: otherwise the next worker that starts with them adds it again.

    Examples:
      reconciler notifications forget shop --reason "it has no receiver any more"
    """
    who = act.operator()
    with acting_session() as opened:
        view = _endpoint_of(opened, account, or_rest=True)
        removed = view.count.pending + view.count.gave_up
        if not act.dry_run:
            to = "" if view.endpoint is None else _(" to %(url)s", view.endpoint.shown)
            unsent = counted(removed, "notification")
            waits = _("%(notifications)s of %(account)s%(to)s will never be sent.", unsent, account, to)
            confirm(waits, _("Forget the endpoint?"), yes=yes or not removed)
            removed = forget_endpoint(opened.database, who, account)[1]
    gone = counted(removed, "notification")
    words = _("%(account)s has no endpoint any more; %(notifications)s went with it.", account, gone)
    _end("forget", account, act, words, removed=removed)


def _show_endpoints(rows: Sequence[Row], now: datetime) -> None:
    if not rows:
        say("No notifications are sent: docs/notifications.md says how to set that up.")
        return
    listed = [
        {
            **row,
            "takes": row["events"] or text("all"),
            "now": row["in_words"],
            "pending": f"{row['pending']:,}",
            "oldest": None if (oldest := row["oldest_changed_at"]) is None else text("for %(lasts)s", now - oldest),
            "gave_up": f"{row['gave_up']:,}",
        }
        for row in rows
    ]
    print_table(
        console(),
        _ENDPOINT_COLUMNS,
        listed,
        title=text("Endpoints"),
        ids=("account",),
        long_texts=("takes", "now"),
        listed="endpoints",
    )


def _endpoint_of(opened: Session, account: str, *, or_rest: bool = False) -> EndpointView:
    """The account's endpoint and its notifications. Raises CommandError if the account has no endpoint. With `or_rest`,
    undelivered notifications without an endpoint are enough."""
    with opened.database.read() as connection:
        views = watched_endpoints(connection, opened.database.now(connection))
    for view in views:
        if view.account == account and (view.endpoint or (or_rest and view.count.pending + view.count.gave_up)):
            return view
    raise CommandError("the account %(who)s has no endpoint; `reconciler notifications` lists those that have", account)


def _end(name: str, account: str, act: Act, words: Sentence, **more: object) -> None:
    if act.as_json:
        act.print_json({"account": account, "act": name, **more})
    else:
        act.say("%(what)s", words)


_NOTIFICATIONS = Listing(
    rows="notifications",
    none=_("No such notifications."),
    csv=csv_columns.NOTIFICATIONS,
    columns=("id", "account", "order", "type", "changed_at", "state", "tries", "due_at", "outcome", "answer"),
    table_row=notification_row,
    ids=("account", "order"),
    long_texts=("answer",),
    title="Notifications",
)

# The usual causes of some HTTP statuses with which receivers answer.
_MOSTLY = {
    401: (
        "the receiver verifies with another secret (here: RECONCILER_NOTIFY_SECRET, or notify_secret of the account),"
        " or a clock is more than five minutes off, or a proxy before it asks for a password"
    ),
    404: (
        "the path of the URL is not the receiver's (here: RECONCILER_NOTIFY_URL, or notify_url of the account), or its"
        " route is not there yet"
    ),
}

Tested = Annotated[
    str | None,
    typer.Argument(metavar="[ACCOUNT]", help="By default the only account with an endpoint."),
]


def notify_test(account: Tested = None, as_json: AsJson = False) -> None:
    """Send one signed test event to the endpoint that the settings name for an account, and show the answer.

    The event has the type `test`, which a receiver ignores, and no order. Nothing is written to the database. The exit
    status is 1 if the receiver did not accept the event.

    Examples:
      reconciler notify-test
      reconciler notify-test shop --json
    """
    settings = read_settings()
    endpoint = _endpoint_to_test(settings, account)
    clock, event_id = HostClock(), new_event_id()
    result = _deliver(settings, endpoint, clock, event_id)
    shown: dict[str, object] = {
        "account": endpoint.account,
        "to": endpoint.target.shown,
        "event_id": event_id,
        "outcome": result.outcome,
        "http_status": result.http_status,
        "answer": result.answer,
    }
    if result.http_status in _MOSTLY:
        shown["mostly"] = _MOSTLY[result.http_status]
    if as_json:
        print_json(shown)
    else:
        print_fields(console(), shown)
    raise typer.Exit(0 if result.outcome is DeliveryOutcome.ACCEPTED else 1)


def _endpoint_to_test(settings: Settings, account: str | None) -> EndpointSettings:
    endpoints = settings.endpoints
    if not endpoints:
        raise CommandError("the settings name no endpoint: docs/notifications.md says how to set one", status=2)
    if account is None:
        if len(endpoints) > 1:
            raise CommandError("name the account: one of %(accounts)s", ", ".join(endpoints), status=2)
        return next(iter(endpoints.values()))
    if account not in endpoints:
        known = ", ".join(endpoints)
        raise CommandError("the account %(who)s has no endpoint in the settings; these have: %(names)s", account, known)
    return endpoints[account]


def _now(settings: Settings, clock: Clock) -> datetime:
    """The time by the database's clock, because workers sign with that time. If the database cannot be used, the time
    by this host's clock."""
    try:
        check_database(settings)
        with (
            errors_in_one_line(settings),
            closing(Database(settings.database_dsn, pool_size=1)) as database,
            database.read() as connection,
        ):
            return database.now(connection)
    except CommandError:
        return clock.now()


def _deliver(settings: Settings, endpoint: EndpointSettings, clock: Clock, event_id: str) -> DeliveryResult:
    now = _now(settings, clock)
    transport = make_transport(endpoint.target, broker_url=settings.broker_dsn, clock=clock, hidden=settings.secrets)
    try:
        return transport.deliver(event_id, body_of_test(endpoint.account, now), now)
    finally:
        transport.close()


app = new_group(notifications, {"pause": pause, "resume": resume, "forget": forget}, invoke_without_command=True)
