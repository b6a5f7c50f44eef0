"""`reconciler notify-test`: a test event is sent to a receiver, to see what comes back."""

from contextlib import closing
from datetime import datetime
from typing import Annotated

import typer

from worker.adapters.clock import Clock, HostClock
from worker.adapters.notify import make_transport
from worker.cli.app import CommandError
from worker.cli.output import AsJson, console, print_fields, print_json
from worker.cli.session import check_database, errors_in_one_line, read_settings
from worker.database.transactions import Database
from worker.domain.notifications.events import body_of_test
from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, EndpointSettings
from worker.operations.save_orders import new_event_id
from worker.settings import Settings

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
            raise CommandError("name the account: one of %(accounts)s", ", ".join(endpoints), status=2)
        return next(iter(endpoints.values()))
    if account not in endpoints:
        known = ", ".join(endpoints)
        raise CommandError("the account %(who)s has no endpoint in the settings; these have: %(names)s", account, known)
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
