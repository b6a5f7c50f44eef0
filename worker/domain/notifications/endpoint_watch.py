"""Describe, for people and for monitoring, the condition of endpoints, and notifications that were not received."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from worker.domain.notifications.resting_endpoints import ATTENTION_AFTER, is_in_doubt, permission
from worker.domain.records.monitoring import Finding, FindingKind, NotificationCounts
from worker.domain.records.notifications import Endpoint, Permission

UNSENT_AFTER = timedelta(minutes=5)
"""If a notification has been due for longer than this and has not been sent, we take it that no process sends it."""
REFUSED_FOR = timedelta(hours=1)
"""If an endpoint refuses everything for this long, a person must look at it. The same is true for an event that is
refused for this long while the endpoint accepts other events."""
_NONE = NotificationCounts()


class Condition(StrEnum):
    """The condition of an endpoint. The gravest condition comes first."""

    MISSING = "missing"
    """The account has no endpoint any more, but has notifications that were not received."""
    STOPPED = "stopped"
    PAUSED = "paused"
    UNSENT = "unsent"
    """Notifications have been due for five minutes, but no process sends them."""
    IN_DOUBT = "in_doubt"
    """The endpoint has refused five different events in a row, and gets one event at a time."""
    RESTING = "resting"
    FAILING = "failing"
    """The endpoint has failed, and may be tried again now."""
    TAKING = "taking"


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointView:
    """An account's endpoint and its notifications, for people."""

    account: str
    endpoint: Endpoint | None
    count: NotificationCounts
    condition: Condition
    now: datetime


class Trouble(NamedTuple):
    """A reason why a person must look at an account's notifications."""

    kind: FindingKind
    """The kind of trouble. `TodoKind` has a member of the same name."""
    account: str
    since: datetime | None
    shown: str | None
    """The endpoint as people see it; None if the account has no endpoint."""
    left: int = 0
    """If the account has no endpoint: how many of its notifications were not received; otherwise 0."""


def endpoint_views(
    endpoints: Iterable[Endpoint], counts: Mapping[str, NotificationCounts], now: datetime
) -> list[EndpointView]:
    """Return a view for each account that has an endpoint, or that has notifications that were not received."""
    by_account = {one.account: one for one in endpoints}
    accounts = sorted(by_account.keys() | counts.keys())
    return [_view(account, by_account.get(account), counts.get(account, _NONE), now) for account in accounts]


def _view(account: str, endpoint: Endpoint | None, count: NotificationCounts, now: datetime) -> EndpointView:
    return EndpointView(
        account=account,
        endpoint=endpoint,
        count=count,
        condition=Condition.MISSING if endpoint is None else condition_of(endpoint, count, now),
        now=now,
    )


def condition_of(endpoint: Endpoint, count: NotificationCounts, now: datetime) -> Condition:
    """Return the condition of an endpoint. `count` counts the notifications of the endpoint's account."""
    if endpoint.stopped_at is not None:
        return Condition.STOPPED
    if endpoint.paused_at is not None:
        return Condition.PAUSED
    if unsent_since(endpoint, count, now) is not None:
        return Condition.UNSENT
    if is_in_doubt(endpoint) and endpoint.rest_level == 0:
        return Condition.IN_DOUBT
    if endpoint.rest_until is not None and endpoint.rest_until > now:
        return Condition.RESTING
    return Condition.TAKING if endpoint.failing_since is None else Condition.FAILING


def is_failing_for_long(endpoint: Endpoint, now: datetime) -> bool:
    """Whether the endpoint has failed for so long that a person should look at it.

    This is one hour for an endpoint that refuses everything, and 75 hours for others. An endpoint that refuses
    everything is not away: its route or its secret is wrong, and waiting does not help.
    """
    long = REFUSED_FOR if is_in_doubt(endpoint) else ATTENTION_AFTER
    return endpoint.failing_since is not None and endpoint.failing_since <= now - long


def takes_others(endpoint: Endpoint) -> bool:
    """Whether the endpoint accepts events at present. If it does, but has refused one event, the cause is that
    event."""
    return endpoint.failing_since is None and endpoint.stopped_at is None


def unsent_since(endpoint: Endpoint, count: NotificationCounts, now: datetime) -> datetime | None:
    """Return since when notifications have been due and could be sent, but no process sends them. Return None if there
    are none, or only for less than five minutes.

    The cause is that no worker runs, or that no worker has this endpoint in its settings.
    """
    if count.waits_since is None or permission(endpoint, now) is Permission.NOTHING:
        return None
    since = max(count.waits_since, endpoint.rest_until or count.waits_since)
    return since if since <= now - UNSENT_AFTER else None


def troubles_of(
    endpoints: Iterable[Endpoint], counts: Mapping[str, NotificationCounts], now: datetime
) -> Iterator[Trouble]:
    """Yield each reason why a person must look at the notifications of an account."""
    without = dict(counts)
    for one in endpoints:
        without.pop(one.account, None)
        if one.stopped_at is not None:
            yield Trouble(FindingKind.ENDPOINT_STOPPED, one.account, one.stopped_at, one.shown)
        elif is_failing_for_long(one, now):
            yield Trouble(FindingKind.ENDPOINT_FAILING, one.account, one.failing_since, one.shown)
        if (since := unsent_since(one, counts.get(one.account, _NONE), now)) is not None:
            yield Trouble(FindingKind.NOTIFICATIONS_UNSENT, one.account, since, one.shown)
    # The accounts that are left have no endpoint. An interrupted `forget` has left their notifications, which nobody
    # received and nobody ever will.
    for account, count in without.items():
        if left := count.pending + count.gave_up:
            yield Trouble(FindingKind.ENDPOINT_MISSING, account, count.oldest_changed_at, None, left)


def warnings_of(
    endpoints: Iterable[Endpoint], counts: Mapping[str, NotificationCounts], now: datetime
) -> Iterator[Finding]:
    """Yield the findings about notifications that monitoring must report."""
    endpoints = list(endpoints)
    for one in troubles_of(endpoints, counts, now):
        values = {"lasts": now - (one.since or now), "count": one.left}
        yield Finding(kind=one.kind, account=one.account, values=values)
    known = {one.account for one in endpoints}
    for account, count in counts.items():
        if account in known and count.gave_up:
            values = {"count": count.gave_up}
            yield Finding(kind=FindingKind.NOTIFICATIONS_GAVE_UP, account=account, values=values)


def late_notifications(
    endpoints: Iterable[Endpoint], counts: Mapping[str, NotificationCounts], now: datetime, after: timedelta
) -> Iterator[Finding]:
    """Yield a finding for each account whose first pending notification has waited for longer than `after`.

    Leave out accounts whose endpoint an operator has paused: their notifications are meant to wait.
    """
    by_account = {one.account: one for one in endpoints}
    for account, count in counts.items():
        endpoint = by_account.get(account)
        since = _undelivered_since(endpoint, count)
        if since is not None and now - since > after and (endpoint is None or endpoint.paused_at is None):
            values = {"lasts": now - since, "count": count.pending, "endpoint": _view(account, endpoint, count, now)}
            yield Finding(kind=FindingKind.NOTIFICATIONS_LATE, account=account, values=values)


def _undelivered_since(endpoint: Endpoint | None, count: NotificationCounts) -> datetime | None:
    queued, changed = count.queued_since, count.oldest_changed_at
    failing = None if endpoint is None else endpoint.failing_since
    if queued is None or changed is None or failing is None:
        return queued
    # When a delivery fails, its notification moves behind the others, as if it had been queued at that moment. So its
    # wait is counted from the time when the endpoint began to fail, or from the change if that is later.
    return min(queued, max(failing, changed))
