"""What needs a person. `worker/words/catalogue.toml` says what that person can do about it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from worker.domain.monitoring.findings import too_frequent
from worker.domain.notifications.endpoint_watch import troubles_of
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.monitoring import NotificationCounts, PastQuery
from worker.domain.records.notifications import Endpoint

UNMATCHED_FOR = timedelta(days=1)
"""A callback may come shortly before its order. If it names no known order even after this time, there is another
cause."""
REFUSED_WITHIN = timedelta(days=7)
"""Refused input leaves the list of what needs a person after this time, when somebody dismisses it, or when its order
is taken in."""
LONG_BACK_OFF_WINDOWS = 10


class TodoKind(StrEnum):
    """What needs a person, in addition to the reasons of `Attention`; the gravest comes first."""

    REFUSES_CONFIGURATION = "configuration_refused"
    """The platform refuses the application of an account."""
    NOT_CONFIGURED = "account_not_configured"
    """An account has pending orders, but no running worker has the account, so they are not polled."""
    TOO_FREQUENT = "queried_too_often"
    """The platform refuses queries of an account because they come too often."""
    PAUSED = "account_paused"
    BACKS_OFF = "account_backs_off"
    POLLED_ALONE = "polled_alone"
    """More orders of an account wait for a query of their own than a day can poll."""
    ENDPOINT_STOPPED = "endpoint_stopped"
    """The receiver of an account's notifications answered 410."""
    ENDPOINT_MISSING = "endpoint_missing"
    """Notifications of an account wait, but the account has no endpoint (any more)."""
    ENDPOINT_FAILING = "endpoint_failing"
    """The receiver has taken no notification for 75 hours, or has refused every one for an hour."""
    NOTIFICATIONS_UNSENT = "notifications_unsent"
    """No process sends the notifications that are due to the receiver."""
    NOTIFICATION_GAVE_UP = "notification_gave_up"
    NOTIFICATION_REFUSED = "notification_refused"
    """The receiver has refused a notification for an hour, but takes others."""
    ENDPOINT_PAUSED = "endpoint_paused"
    UNRESOLVED = "unresolved"
    """Polling of an order stopped without a result, and the order shows no reason (any more)."""
    REJECTED = "rejected_input"
    UNMATCHED = "unmatched_callback"


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountTodo:
    """An account that needs a person."""

    kind: TodoKind
    account: str
    since: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    note: str | None = None


def accounts_to_do(
    states: Sequence[AccountState],
    with_pending: Collection[str],
    polled: Collection[str],
    queries: Mapping[str, Sequence[PastQuery]],
    now: datetime,
    rules: Rules,
) -> list[AccountTodo]:
    """The accounts that need a person, sorted by kind and name.

    `with_pending`: the accounts with pending orders. `polled`: the accounts that workers have. `queries`: the last
    queries of each account, the newest first.
    """
    found = [
        AccountTodo(kind=TodoKind.NOT_CONFIGURED, account=account) for account in with_pending if account not in polled
    ]
    for state in states:
        if state.account in polled:
            found.extend(_waits_of(state, queries.get(state.account, ()), now, rules))
    return _gravest_first(found)


def _waits_of(state: AccountState, queries: Sequence[PastQuery], now: datetime, rules: Rules) -> Iterator[AccountTodo]:
    """Why an account is not polled as it should be."""
    todo = partial(AccountTodo, account=state.account)
    if state.configuration_refused:
        yield todo(kind=TodoKind.REFUSES_CONFIGURATION)
    if refused := too_frequent(queries, now):
        yield todo(kind=TodoKind.TOO_FREQUENT, since=refused[-1].sent_at, note=refused[0].status_msg)
    if pause := state.pause(now):
        since, until, by, note = pause.paused_at, pause.paused_until, pause.paused_by, pause.pause_reason
        yield todo(kind=TodoKind.PAUSED, since=since, until=until, by=by, note=note)
    is_long = state.backoff_seconds >= rules.window_seconds * LONG_BACK_OFF_WINDOWS
    if state.is_backed_off(now) and is_long and not state.configuration_refused:
        yield todo(kind=TodoKind.BACKS_OFF, until=state.backoff_until)


def alone_to_do(waiting: Mapping[str, tuple[int, int]]) -> list[AccountTodo]:
    """The accounts in which more orders wait for a query of their own than a day can poll, by name.

    `waiting` holds for each account the number of waiting orders, and the number of orders that a day can poll.
    """
    return [
        AccountTodo(kind=TodoKind.POLLED_ALONE, account=account, note=f"{orders:,} orders, {polls:,} polls a day")
        for account, (orders, polls) in sorted(waiting.items())
        if orders > polls
    ]


def endpoints_to_do(
    endpoints: Iterable[Endpoint], counts: Mapping[str, NotificationCounts], now: datetime
) -> list[AccountTodo]:
    """The endpoints that need a person, sorted by kind and account. `counts` are by account."""
    endpoints = list(endpoints)
    found = [
        AccountTodo(
            kind=TodoKind(one.kind.value),
            account=one.account,
            since=one.since,
            note=one.shown or f"{one.left:,} notification{'' if one.left == 1 else 's'}",
        )
        for one in troubles_of(endpoints, counts, now)
    ]
    found += [
        AccountTodo(
            kind=TodoKind.ENDPOINT_PAUSED, account=one.account, since=one.paused_at, by=one.paused_by, note=one.shown
        )
        for one in endpoints
        if one.paused_at is not None
    ]
    return _gravest_first(found)


def _gravest_first(found: Iterable[AccountTodo]) -> list[AccountTodo]:
    kinds = list(TodoKind)
    return sorted(found, key=lambda one: (kinds.index(one.kind), one.account))
