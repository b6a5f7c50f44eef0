"""What a person, or a program that watches, has to know about endpoints, and about what nobody has received."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from worker.domain.endpoint_rest import ATTENTION_AFTER
from worker.domain.records.notifications import Endpoint
from worker.domain.records.overview import NotificationCounts
from worker.domain.todo import AccountTodo, TodoKind


def endpoint_in_words(endpoint: Endpoint, now: datetime) -> str:
    """How an endpoint fares, without a full stop."""
    if endpoint.stopped_at is not None:
        return "stopped: it answered 410, which means that it wants no more"
    if endpoint.paused_at is not None:
        return f"paused by {endpoint.paused_by or 'an operator'}"
    failing = "" if endpoint.failing_since is None else f", failing for {_lasted(endpoint.failing_since, now)}"
    if endpoint.rest_until is not None and endpoint.rest_until > now:
        return f"rests for {(endpoint.rest_until - now).total_seconds():,.0f} s more{failing}"
    return f"is tried again{failing}" if failing else "takes notifications"


def is_failing_for_long(endpoint: Endpoint, now: datetime) -> bool:
    """Whether it has failed for so long that a person should look at it."""
    return endpoint.failing_since is not None and endpoint.failing_since <= now - ATTENTION_AFTER


def warnings_of(
    endpoints: Iterable[Endpoint], counts: Mapping[str, NotificationCounts], now: datetime
) -> Iterator[tuple[str, str, str]]:
    """What monitoring is to report: account, a stable name, and words."""
    for endpoint in endpoints:
        if endpoint.stopped_at is not None:
            yield endpoint.account, "endpoint_stopped", "its endpoint answered 410, and is sent nothing more"
        elif is_failing_for_long(endpoint, now) and endpoint.failing_since is not None:
            yield endpoint.account, "endpoint_failing", f"its endpoint fails for {_lasted(endpoint.failing_since, now)}"
    for account, count in counts.items():
        if count.gave_up:
            yield account, "notifications_gave_up", f"{count.gave_up:,} notifications were given up"


def endpoints_to_do(endpoints: Iterable[Endpoint], now: datetime) -> list[AccountTodo]:
    """The endpoints that need a person, by the kind and the account."""
    found = []
    for one in endpoints:
        if one.stopped_at is not None:
            found.append(_todo(TodoKind.ENDPOINT_STOPPED, one, one.stopped_at))
        elif is_failing_for_long(one, now):
            found.append(_todo(TodoKind.ENDPOINT_FAILING, one, one.failing_since))
        if one.paused_at is not None:
            found.append(_todo(TodoKind.ENDPOINT_PAUSED, one, one.paused_at, by=one.paused_by))
    kinds = list(TodoKind)
    return sorted(found, key=lambda one: (kinds.index(one.kind), one.account))


def _todo(kind: TodoKind, endpoint: Endpoint, since: datetime | None, by: str | None = None) -> AccountTodo:
    return AccountTodo(kind=kind, account=endpoint.account, since=since, by=by, note=endpoint.shown)


def _lasted(since: datetime, now: datetime) -> str:
    seconds = max(0.0, (now - since).total_seconds())
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 3600:,.0f} hours" if seconds >= 7200 else f"{seconds / 60:,.0f} minutes"
