"""What needs a person, and what that person can do about it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from types import MappingProxyType

from worker.domain.notifications.endpoint_watch import troubles_of
from worker.domain.records.accounts import AccountState
from worker.domain.records.notifications import Endpoint
from worker.domain.records.orders import Attention
from worker.domain.records.overview import NotificationCounts, PastQuery
from worker.domain.records.parameters import Rules
from worker.domain.watching.monitoring import too_frequent

UNMATCHED_FOR = timedelta(days=1)
"""A callback that names no known order for so long was hardly ahead of its order."""
REFUSED_WITHIN = timedelta(days=7)
"""Refused input stays on the list for so long: nobody can say of a row that it was dealt with in another way."""
LONG_BACK_OFF_WINDOWS = 10


class TodoKind(StrEnum):
    """What needs a person, the gravest first, beside the reasons of `Attention`."""

    REFUSES_CONFIGURATION = "configuration_refused"
    """The platform refuses the application of an account."""
    NOT_CONFIGURED = "account_not_configured"
    """An account has pending orders and no running worker has it: nobody polls them."""
    TOO_FREQUENT = "queried_too_often"
    """The platform refuses queries of an account because they come too often."""
    PAUSED = "account_paused"
    BACKS_OFF = "account_backs_off"
    ENDPOINT_STOPPED = "endpoint_stopped"
    """The receiver of an account's notifications answered 410."""
    ENDPOINT_MISSING = "endpoint_missing"
    """Notifications of an account wait, and it has no endpoint (any more)."""
    ENDPOINT_FAILING = "endpoint_failing"
    """It has taken none for 75 hours, or refused every one for an hour."""
    NOTIFICATIONS_UNSENT = "notifications_unsent"
    """No process sends what is due to it."""
    NOTIFICATION_GAVE_UP = "notification_gave_up"
    NOTIFICATION_REFUSED = "notification_refused"
    """The receiver has refused it for an hour, and takes others."""
    ENDPOINT_PAUSED = "endpoint_paused"
    UNRESOLVED = "unresolved"
    """Polling stopped without a result, and the order shows no reason (any more)."""
    REJECTED = "rejected_input"
    UNMATCHED = "unmatched_callback"


_SETTLE = "then `reconciler resolve REF --state succeeded|failed`"
_DISMISS = "`reconciler dismiss REF` once that is done"

TODO: Mapping[Attention | TodoKind, str] = MappingProxyType(
    {
        Attention.LATE_CONFLICT: (
            "After the final state, or the cancellation, the platform said something else. The state stays. Ask the"
            f" platform which result holds, correct the books by hand, and {_DISMISS}."
        ),
        Attention.CONFLICTING_ANSWER: (
            "Ids, application or items contradict each other, or a success has no amount; nothing was settled by it."
            " Read `reconciler order REF`: often two orders share an id. Correct the ids at the sender, or ask the"
            f" platform for the result, {_SETTLE}."
        ),
        Attention.AMOUNT_MISMATCH: (
            "The charge is not what was expected, or a failed order was charged. Act on the state, clear up the charge"
            f" with the platform, and {_DISMISS}."
        ),
        Attention.MOBILE_MISMATCH: (
            "The answer is about another phone number. Compare the id and the number with the billing system's; where"
            f" they are right, ask the platform for the result, {_SETTLE}."
        ),
        Attention.UNKNOWN_STATUS: (
            "The platform sent a trafficSts that is not 1, 0 or -1: `reconciler order REF` shows it. Ask the platform"
            f" what it means, {_SETTLE}."
        ),
        Attention.UNKNOWN_TO_PLATFORM: (
            "The platform does not know the order, or leaves it out even alone. Was it ever placed, under this account?"
            f" Refund nothing before that is clear, {_SETTLE}, or send it under the right account."
        ),
        Attention.REJECTED_BY_PLATFORM: (
            "Every query that polls it fails while others succeed. Check the id, ask the platform,"
            f" {_SETTLE}; `reconciler reopen REF` polls it again."
        ),
        Attention.TOO_OLD: (
            "No result by the age limit. If it is unresolved, ask the platform,"
            f" {_SETTLE}; if it is still pending, read what keeps it so in `reconciler order REF`."
        ),
        TodoKind.REFUSES_CONFIGURATION: (
            "The platform refuses the application (-205): its id belongs to the other environment, this host is not in"
            " its allowlist, or it is not live. Correct it at the platform, then `reconciler resume ACCOUNT`."
        ),
        TodoKind.NOT_CONFIGURED: (
            "Orders are pending, and no running worker has the account in its settings: nobody polls them. Add it to"
            " the settings of the workers, or cancel its orders."
        ),
        TodoKind.TOO_FREQUENT: (
            "The platform said in the last hour that it is queried too often: it saw more queries of the account's SID"
            " than were sent from here. Find who else uses the SID: another deployment, a script, the platform's test"
            " page. `reconciler queries --account ACCOUNT --outcome refused` shows when."
        ),
        TodoKind.PAUSED: "An operator paused it: no query is sent. `reconciler resume ACCOUNT` goes on.",
        TodoKind.BACKS_OFF: (
            "Queries fail for long: the platform or the network to it is down, or refuses. `reconciler queries"
            " --account ACCOUNT` shows how they end; queries go on by themselves once it is over, at once with"
            " `reconciler resume ACCOUNT`."
        ),
        TodoKind.ENDPOINT_STOPPED: (
            "The receiver answered 410: it wants no more notifications, so none is sent. Correct the receiver or the"
            " URL, then `reconciler notifications --resume ACCOUNT`; what happened meanwhile is sent then."
        ),
        TodoKind.ENDPOINT_MISSING: (
            "The account has no endpoint, so its notifications are never sent: somebody forgot it, and was interrupted."
            " `reconciler notifications --forget ACCOUNT` removes them. To have them sent, set the endpoint again and"
            " restart the workers."
        ),
        TodoKind.ENDPOINT_FAILING: (
            "The receiver takes no notification for 75 hours, or refuses all for an hour (a wrong route or secret). It"
            " is tried again, nothing is lost."
            " `reconciler notifications --account ACCOUNT` shows how it fails; correct it, then --resume ACCOUNT."
        ),
        TodoKind.NOTIFICATIONS_UNSENT: (
            "Notifications are due for 5 minutes or more, and no process sends them: no worker runs, or none has the"
            " endpoint that was entered last; others log `endpoint_differs`. Give all workers the same settings and"
            " restart them. To notify the account no more: `reconciler notifications --forget ACCOUNT`."
        ),
        TodoKind.NOTIFICATION_GAVE_UP: (
            "The receiver takes others and refuses this one again and again: the order is settled here, and the billing"
            " system does not know. Read its log, correct it, then `reconciler resend --gave-up`."
        ),
        TodoKind.NOTIFICATION_REFUSED: (
            "The receiver takes others and has refused this one for an hour. It is tried again, for some 75 hours in"
            " all. Read what it answers and its log, correct it, then `reconciler resend REF` sends it now."
        ),
        TodoKind.ENDPOINT_PAUSED: (
            "An operator paused it: no notification is sent. `reconciler notifications --resume ACCOUNT` goes on."
        ),
        TodoKind.UNRESOLVED: (
            "Polling stopped without a result. Neither book nor refund: ask the platform,"
            f" {_SETTLE}; `reconciler reopen REF` polls it again."
        ),
        TodoKind.REJECTED: (
            "Input that was refused in the last 7 days. `reconciler rejected ID` shows it with its faults. Correct the"
            " sender and send it again; where the settings were at fault, `reconciler rejected --retry ID`."
        ),
        TodoKind.UNMATCHED: (
            "The platform called back about an order that is still unknown after a day: it was never enqueued, or under"
            " other ids. Enqueue it, and the callback settles it; `reconciler unmatched` lists them."
        ),
    }
)
"""What each reason means, and what to do about it."""


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
    """The accounts that need a person, by the kind and the name.

    `with_pending` have pending orders, `polled` are those that workers have; `queries` are the last ones of each
    account, the newest first.
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
    if state.is_paused(now):
        yield todo(
            kind=TodoKind.PAUSED,
            since=state.paused_at,
            until=state.paused_until,
            by=state.paused_by,
            note=state.pause_reason,
        )
    is_long = state.backoff_seconds >= rules.window_seconds * LONG_BACK_OFF_WINDOWS
    if state.is_backed_off(now) and is_long and not state.configuration_refused:
        yield todo(kind=TodoKind.BACKS_OFF, until=state.backoff_until)


def endpoints_to_do(
    endpoints: Iterable[Endpoint], counts: Mapping[str, NotificationCounts], now: datetime
) -> list[AccountTodo]:
    """The endpoints that need a person, by the kind and the account. `counts` are by account."""
    endpoints = list(endpoints)
    found = [
        AccountTodo(
            kind=TodoKind(one.name),
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
