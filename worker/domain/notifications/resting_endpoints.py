"""Change endpoints and events after deliveries: an endpoint rests or is in doubt; an event is delayed or given up.

An endpoint also changes when a worker starts and enters its settings, and when an operator acts on the endpoint.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.notifications.deliveries import EVENT_WAITS, LEASE, Fault, fault_of, wait_after
from worker.domain.records.notifications import (
    EndedTry,
    Endpoint,
    EndpointSettings,
    Notification,
    NotificationState,
    Permission,
    Rank,
)
from worker.domain.records.operators import Act

FIRST_REST = timedelta(seconds=5)
LONGEST_REST = timedelta(minutes=15)
LONGEST_RETRY_AFTER = timedelta(hours=1)
ATTENTION_AFTER = timedelta(hours=75)
"""If an endpoint has failed for this long, a person must look at it, and it is probed only once an hour."""
HOURLY = timedelta(hours=1)
DIFFERENT_EVENTS = 5
"""If this many different events fail in a row, the endpoint is in doubt: perhaps its route or secret is wrong, or its
receiver refuses only some events."""
DOUBT_SPACING = timedelta(milliseconds=50)
"""The least time between two deliveries to an endpoint in doubt, so that there are at most 20 a second."""
_HIGHEST_LEVEL = 10
"""The rest level does not rise above this. The longest rest is already reached at a lower level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryEffects:
    """The effects of some ended deliveries."""

    before: Endpoint
    endpoint: Endpoint
    """The endpoint after the deliveries."""
    delivered: tuple[EndedTry, ...]
    failed: tuple[EndedTry, ...]
    """The failed deliveries, except those whose notification another claim has leased since."""
    rows: tuple[Notification, ...]
    """The notifications that failed deliveries have changed, with their new values."""
    wait: timedelta
    """How long nothing may be sent to the endpoint from now on."""


def permission(endpoint: Endpoint, now: datetime) -> Permission:
    """Return what may be sent to an endpoint. `now` must be read after the endpoint was read. If a rest begins after
    `now`, that rest counts as over."""
    if endpoint.stopped_at is not None or endpoint.paused_at is not None:
        return Permission.NOTHING
    if endpoint.rest_from is None or endpoint.rest_until is None:
        return Permission.ANY
    # A rest that begins in the future was written before a clock was stepped back. It would last too long, so it counts
    # as over.
    return Permission.NOTHING if endpoint.rest_from <= now < endpoint.rest_until else Permission.PROBE


def begin_probe(endpoint: Endpoint, now: datetime) -> Endpoint:
    """Return the endpoint with the rest that a probe begins. So no process sends another probe until the lease of this
    probe has run out."""
    return replace(endpoint, rest_from=now, rest_until=now + LEASE)


def is_in_doubt(endpoint: Endpoint) -> bool:
    """Whether five different events have failed in a row. Then deliveries go one at a time until one succeeds."""
    return len(_failed_in_row(endpoint)) >= DIFFERENT_EVENTS


def is_sound(endpoint: Endpoint) -> bool:
    """Whether the endpoint has no failures and no rest, so that a successful delivery does not change it."""
    return endpoint.rest_from is None and endpoint.failing_since is None and endpoint.failed_in_row is None


def rows_needed(endpoint: Endpoint, ended: Iterable[EndedTry]) -> list[int]:
    """Return the ids of the notifications that `after_deliveries` may change, in ascending order."""
    failed = {one.claim.id for one in ended if fault_of(one.result) is not None}
    last = set() if endpoint.last_failed_id is None else {endpoint.last_failed_id}
    return sorted(failed | last)


def after_deliveries(
    endpoint: Endpoint, rows: Mapping[int, Notification], ended: Iterable[EndedTry], now: datetime
) -> DeliveryEffects:
    """Return the effects of deliveries that ended in this order.

    `endpoint` and `rows` must be locked. `rows` are the notifications with the ids of `rows_needed` that still exist.
    Every success counts. A failure counts only if no other claim has leased the notification since.
    """
    account = _Account(endpoint, rows, now)
    delivered, failed = [], []
    for one in ended:
        fault = fault_of(one.result)
        if fault is None:
            account.succeed(one)
            delivered.append(one)
        elif account.holds(one):
            account.fail(one, fault)
            failed.append(one)
    return DeliveryEffects(
        before=endpoint,
        endpoint=account.endpoint,
        delivered=tuple(delivered),
        failed=tuple(failed),
        rows=account.changed,
        wait=max(timedelta(), (account.endpoint.rest_until or now) - now),
    )


class _Account:
    """Applies the results of deliveries, one after the other, to an endpoint and to the notifications that were sent to
    it."""

    def __init__(self, endpoint: Endpoint, rows: Mapping[int, Notification], now: datetime) -> None:
        self.endpoint = endpoint
        self._before = rows
        self._rows = dict(rows)
        self._now = now

    @property
    def changed(self) -> tuple[Notification, ...]:
        return tuple(row for event, row in sorted(self._rows.items()) if row != self._before[event])

    def holds(self, one: EndedTry) -> bool:
        row = self._rows.get(one.claim.id)
        return row is not None and row.lease_token == one.claim.token

    def succeed(self, one: EndedTry) -> None:
        """End the endpoint's rest and reset its counts of failures. If the delivery that failed last was of another
        event, blame that event."""
        last_failed = self._rows.get(self.endpoint.last_failed_id or 0)
        self.endpoint = _without_failures(self.endpoint)
        if last_failed is not None and last_failed.id != one.claim.id:
            self._blame(last_failed, one.jitter)

    def fail(self, one: EndedTry, fault: Fault) -> None:
        """Apply a failed delivery of a notification that no other claim has leased since."""
        # `due_at` moves the event behind all other due events. Otherwise, if two events make their receiver hang, these
        # two would take turns as the probe forever.
        row = self._rows[one.claim.id] = replace(self._rows[one.claim.id], lease_token=None, due_at=self._now)
        if fault is Fault.GONE:
            self.endpoint = replace(self.endpoint, stopped_at=self.endpoint.stopped_at or self._now)
        elif fault is Fault.ENDPOINT:
            self._rest(one)
        else:
            self._count(row.id)
            self._go_on(one)
            self._blame(row, one.jitter)

    def _rest(self, one: EndedTry) -> None:
        """Begin a rest of the endpoint, longer than the last one. A delivery that was claimed before the present rest
        began changes nothing."""
        if self.endpoint.rest_from != one.claim.rest_from:
            return
        since = self.endpoint.failing_since or self._now
        length = min(FIRST_REST * 2**self.endpoint.rest_level, LONGEST_REST)
        if since <= self._now - ATTENTION_AFTER:
            length = HOURLY
        asked = min(timedelta(seconds=one.result.retry_after or 0.0), LONGEST_RETRY_AFTER)
        self.endpoint = replace(
            self.endpoint,
            rest_level=min(self.endpoint.rest_level + 1, _HIGHEST_LEVEL),
            rest_from=self._now,
            rest_until=self._now + max(length * (1 - one.jitter / 10), asked),
            failing_since=since,
            last_failed_id=one.claim.id,
        )

    def _blame(self, row: Notification, jitter: float) -> None:
        """Count a failure of which the event itself is the cause. The event is delayed. It is not given up while its
        endpoint rests or is in doubt."""
        if row.state is not NotificationState.PENDING:
            return
        tries = row.tries + 1
        if self.endpoint.rest_from is not None:
            tries = min(tries, len(EVENT_WAITS))
        wait = wait_after(tries, jitter)
        self._rows[row.id] = replace(
            row,
            state=NotificationState.GAVE_UP if wait is None else NotificationState.PENDING,
            rank=Rank.RETRY,
            tries=tries,
            refused_since=row.refused_since or self._now,
            due_at=row.due_at if wait is None else self._now + wait,
        )

    def _count(self, event: int) -> None:
        in_row = _failed_in_row(self.endpoint)
        if event not in in_row and len(in_row) < DIFFERENT_EVENTS:
            self.endpoint = replace(self.endpoint, failed_in_row=json.dumps([*in_row, event]))

    def _go_on(self, one: EndedTry) -> None:
        """End the endpoint's rest, because the endpoint answers. Deliveries still go one at a time until the endpoint
        accepts one."""
        endpoint = self.endpoint
        if endpoint.rest_from is not None and endpoint.rest_from != one.claim.rest_from:
            return
        if is_in_doubt(endpoint):
            began = endpoint.rest_from or self._now
            self.endpoint = replace(
                endpoint,
                rest_level=0,
                rest_from=began,
                rest_until=max(self._now, began + DOUBT_SPACING),
                failing_since=endpoint.failing_since or self._now,
                # The endpoint answers, so the next probe need not avoid the event that failed last.
                last_failed_id=None,
            )
        elif endpoint.rest_from is not None:
            self.endpoint = replace(endpoint, rest_until=self._now)


def _failed_in_row(endpoint: Endpoint) -> list[int]:
    return list(json.loads(endpoint.failed_in_row or "[]"))


def enter(known: Endpoint | None, given: EndpointSettings) -> Endpoint:
    """Return the endpoint after a worker with these settings has entered it. `known` is the stored endpoint; None if
    there is none.

    If the target has changed, the endpoint starts without failures, because failures of the old target say nothing
    about the new one. A pause stays until an operator ends it.
    """
    entered = given.as_endpoint()
    if known is None:
        return entered
    if is_another_target(known, given):
        return replace(entered, paused_at=known.paused_at, paused_by=known.paused_by)
    return replace(known, shown=entered.shown, events=entered.events)


def is_another_target(known: Endpoint | None, given: EndpointSettings) -> bool:
    """Whether these settings send the pending notifications of an account to another target than before."""
    return known is not None and known.target_digest != given.target.digest


def pause_endpoint(endpoint: Endpoint, act: Act) -> Endpoint:
    """Return the endpoint paused. Nothing is sent to it until somebody resumes it, and new notifications wait."""
    return replace(endpoint, paused_at=act.now, paused_by=act.actor)


def resume_endpoint(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint so that notifications are sent to it again at once. This ends a pause, a rest, and the stop
    after an answer 410."""
    return replace(_without_failures(endpoint), stopped_at=None, paused_at=None, paused_by=None)


def _without_failures(endpoint: Endpoint) -> Endpoint:
    return replace(
        endpoint,
        rest_level=0,
        rest_from=None,
        rest_until=None,
        failing_since=None,
        failed_in_row=None,
        last_failed_id=None,
    )
