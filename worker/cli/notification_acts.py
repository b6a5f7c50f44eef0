"""`reconciler resend` and `notify-test`: how orders stand is sent once more, or a test event to see what comes back."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any

import typer

from worker.adapters.clock import Clock, HostClock
from worker.adapters.notify.transports import make_transport
from worker.cli.acting import Act, Yes, acting_session, confirm, say_refused
from worker.cli.errors import CommandError
from worker.cli.order_acts import OfAccount, OptionalReferences
from worker.cli.order_references import find_in_parts
from worker.cli.output import AsJson, console, counted, print_fields, print_json, time_text
from worker.cli.session import Session, check_database, errors_in_one_line, read_settings
from worker.cli.times import TIME_RULE, read_time
from worker.database.transactions import Database
from worker.domain.notifications.events import body_of_test
from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, EndpointSettings
from worker.operations.act_by_hand import Operator
from worker.operations.resend import resend as send_once_more
from worker.operations.save_orders import new_event_id
from worker.settings import Settings
from worker.views.notifications import orders_changed_since, orders_given_up

GaveUp = Annotated[bool, typer.Option("--gave-up", help="All orders with a notification that was given up.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"All orders that changed at this time or later: {TIME_RULE}.")
]
Renew = Annotated[
    bool,
    typer.Option(
        "--renew",
        help="Raise the version of what is sent first: after a restore of the worker's database, when receivers may "
        "know newer ones.",
    ),
]


def resend(
    refs: OptionalReferences = None,
    gave_up: GaveUp = False,
    since: Since = None,
    renew: Renew = False,
    account: OfAccount = None,
    yes: Yes = False,
    *,
    act: Act,
) -> None:
    """Send how orders stand once more. Results that come meanwhile go first.

    The notification of an order's version goes again, under the same id. Where none is left (a delivered one is kept
    for RECONCILER_NOTIFY_KEEP_DAYS) or none was written, there is a new one. A receiver ignores what is not newer than
    what it has, so nothing is booked twice. What --gave-up or --since selects is counted, and you are asked.

    Examples:
      reconciler resend A-1001
      reconciler resend --gave-up --dry-run
      reconciler resend --since 2d --reason "the billing system was restored" --yes
    """
    if bool(refs) + gave_up + (since is not None) != 1:
        raise typer.BadParameter("name orders, or select them by --gave-up or by --since")
    who = act.operator()
    rejected: list[dict[str, Any]] = []
    with acting_session() as opened:
        if refs:
            named = _named(opened, account or "default", refs, rejected)
        else:
            named = _selected(opened, since, account)
            if named and not act.dry_run:
                orders = counted(len(named), "order")
                confirm(
                    f"{orders} {'is' if len(named) == 1 else 'are'} selected.",
                    "Send all of these once more?",
                    yes=yes,
                )
        again, made = _resend(opened, who, named, rejected, renew=renew)
    _end(again, made, rejected, act)


def _named(opened: Session, account: str, refs: Sequence[str], rejected: list[dict[str, Any]]) -> dict[int, str]:
    named: dict[int, str] = {}
    for ref, row in find_in_parts(opened, account, refs):
        if isinstance(row, str):
            rejected.append({"ref": ref, "errors": [row]})
        else:
            named[row["id"]] = ref
    return named


def _selected(opened: Session, since: str | None, account: str | None) -> dict[int, str]:
    with opened.database.read() as connection:
        if since is None:
            found = orders_given_up(connection, account)
        else:
            start = read_time("--since", since, opened.database.now(connection), opened.settings.zone)
            found = orders_changed_since(connection, start, account)
            typer.echo(f"Changed since {time_text(start)}:", err=True)
    return {order_id: f"id:{order_id}" for order_id in found}


def _resend(
    opened: Session, who: Operator, named: dict[int, str], rejected: list[dict[str, Any]], *, renew: bool
) -> tuple[int, int]:
    again = made = 0
    for done in send_once_more(opened.database, who, list(named), renew=renew):
        again, made = again + done.again, made + done.made
        rejected += [{"ref": named[order_id], "errors": [why]} for order_id, why in done.refusals.items()]
    return again, made


def _end(again: int, made: int, rejected: list[dict[str, Any]], act: Act) -> None:
    if act.as_json:
        act.print_json({"resent": again, "made": made, "rejected": rejected})
    else:
        say_refused(rejected)
        new = f", {made:,} of them under new ids" if made else ""
        act.say(f"{counted(again + made, 'notification')} will be sent{new}.")
    raise typer.Exit(1 if rejected else 0)


# What a receiver mostly means by a status.
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

OneAccount = Annotated[
    str | None,
    typer.Argument(metavar="[ACCOUNT]", help="By default the only account with an endpoint."),
]


def notify_test(account: OneAccount = None, as_json: AsJson = False) -> None:
    """Send one signed test event to the endpoint that the settings name for an account, and show what came back.

    Its type is `test`, which a receiver ignores. It is about no order, and nothing is written into the database. Exit
    status 1 where the receiver did not take it.

    Examples:
      reconciler notify-test
      reconciler notify-test shop --json
    """
    settings = read_settings()
    endpoint = _endpoint(settings, account)
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


def _endpoint(settings: Settings, account: str | None) -> EndpointSettings:
    endpoints = settings.endpoints
    if not endpoints:
        raise CommandError("the settings name no endpoint: docs/notifications.md says how to set one", status=2)
    if account is None:
        if len(endpoints) > 1:
            raise CommandError(f"name the account: one of {', '.join(endpoints)}", status=2)
        return next(iter(endpoints.values()))
    if account not in endpoints:
        raise CommandError(f"the account {account} has no endpoint in the settings; these have: {', '.join(endpoints)}")
    return endpoints[account]


def _now(settings: Settings, clock: Clock) -> datetime:
    """By the database's clock, as workers sign; by this host's where the database cannot be used as it is."""
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
