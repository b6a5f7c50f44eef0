"""What needs a person, and what that person can do about it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import Attention
from worker.domain.records.parameters import Rules

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
    """An account has pending orders and is not in the settings: nobody polls them."""
    PAUSED = "account_paused"
    BACKS_OFF = "account_backs_off"
    ENDPOINT_STOPPED = "endpoint_stopped"
    """The receiver of an account's notifications answered 410."""
    ENDPOINT_FAILING = "endpoint_failing"
    """It has taken none for 75 hours."""
    NOTIFICATION_GAVE_UP = "notification_gave_up"
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
            " its allowlist, or it is not live. Correct it at the platform; no restart is needed."
        ),
        TodoKind.NOT_CONFIGURED: (
            "Orders are pending, and the settings do not name the account: nobody polls them. Add the account to the"
            " settings of the workers, or cancel its orders."
        ),
        TodoKind.PAUSED: "An operator paused it: no query is sent. `reconciler resume ACCOUNT` goes on.",
        TodoKind.BACKS_OFF: (
            "Queries fail for long: the platform or the network to it is down, or refuses. `reconciler queries"
            " --account ACCOUNT` shows how they end; queries go on by themselves once it is over."
        ),
        TodoKind.ENDPOINT_STOPPED: (
            "The receiver answered 410: it wants no more notifications, so none is sent. Correct the receiver or the"
            " URL, then `reconciler notifications --resume ACCOUNT`; what happened meanwhile is sent then."
        ),
        TodoKind.ENDPOINT_FAILING: (
            "The receiver takes no notification for 75 hours or more. It is tried once an hour, nothing is lost."
            " `reconciler notifications --account ACCOUNT` shows how it fails; correct it, then --resume ACCOUNT."
        ),
        TodoKind.NOTIFICATION_GAVE_UP: (
            "The receiver takes others and refuses this one again and again: the order is settled here, and the billing"
            " system does not know. Read its log, correct it, then `reconciler resend --gave-up`."
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
    configured: Collection[str],
    now: datetime,
    rules: Rules,
) -> list[AccountTodo]:
    """The accounts that need a person, by the kind and the name. `with_pending` have pending orders."""
    found = [
        AccountTodo(kind=TodoKind.NOT_CONFIGURED, account=account)
        for account in with_pending
        if account not in configured
    ]
    for state in states:
        if state.account not in configured:
            continue
        if state.configuration_refused:
            found.append(AccountTodo(kind=TodoKind.REFUSES_CONFIGURATION, account=state.account))
        if state.is_paused(now):
            found.append(
                AccountTodo(
                    kind=TodoKind.PAUSED,
                    account=state.account,
                    since=state.paused_at,
                    until=state.paused_until,
                    by=state.paused_by,
                    note=state.pause_reason,
                )
            )
        is_long = state.backoff_seconds >= rules.window_seconds * LONG_BACK_OFF_WINDOWS
        if state.is_backed_off(now) and is_long and not state.configuration_refused:
            found.append(AccountTodo(kind=TodoKind.BACKS_OFF, account=state.account, until=state.backoff_until))
    kinds = list(TodoKind)
    return sorted(found, key=lambda one: (kinds.index(one.kind), one.account))
