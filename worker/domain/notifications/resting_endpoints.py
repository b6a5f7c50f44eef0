"""What the ends of deliveries mean for their endpoint and for their events: rests, doubt, delays, giving up.

Also what becomes of an endpoint when a worker starts with its settings, and when an operator acts on it.
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
"""An endpoint that has failed for so long needs a person, and is probed once an hour."""
HOURLY = timedelta(hours=1)
DIFFERENT_EVENTS = 5
"""So many different events that fail in a row put the endpoint in doubt: a wrong route or secret, or a receiver that
refuses some events."""
DOUBT_SPACING = timedelta(milliseconds=50)
"""From one delivery to an endpoint in doubt to the next: 20 a second at most."""
_HIGHEST_LEVEL = 10
"""The longest rest is reached before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryEffects:
    """What some ended tries change."""

    before: Endpoint
    endpoint: Endpoint
    """As it is afterwards."""
    delivered: tuple[EndedTry, ...]
    failed: tuple[EndedTry, ...]
    """Without those whose lease had passed to somebody else."""
    rows: tuple[Notification, ...]
    """The rows that failures changed, as they are afterwards."""
    wait: timedelta
    """Nothing may be sent to the endpoint for so long."""


def permission(endpoint: Endpoint, now: datetime) -> Permission:
    """What may be sent to an endpoint. `now` is read after the endpoint: a rest that begins later has run out."""
    if endpoint.stopped_at is not None or endpoint.paused_at is not None:
        return Permission.NOTHING
    if endpoint.rest_from is None or endpoint.rest_until is None:
        return Permission.ANY
    # Before its beginning: a clock was stepped back, and the rest lies further ahead than its own length.
    return Permission.NOTHING if endpoint.rest_from <= now < endpoint.rest_until else Permission.PROBE


def begin_probe(endpoint: Endpoint, now: datetime) -> Endpoint:
    """The endpoint while a probe is under way: no process sends another one until its lease has run out."""
    return replace(endpoint, rest_from=now, rest_until=now + LEASE)


def is_in_doubt(endpoint: Endpoint) -> bool:
    """Whether so many different events have failed in a row that each delivery goes alone, until one succeeds."""
    return len(_failed_in_row(endpoint)) >= DIFFERENT_EVENTS


def is_sound(endpoint: Endpoint) -> bool:
    """Whether a success changes nothing about it."""
    return endpoint.rest_from is None and endpoint.failing_since is None and endpoint.failed_in_row is None


def rows_needed(endpoint: Endpoint, ended: Iterable[EndedTry]) -> list[int]:
    """The ids of the rows that `after_deliveries` decides about, in order."""
    failed = {one.claim.id for one in ended if fault_of(one.result) is not None}
    last = set() if endpoint.last_failed_id is None else {endpoint.last_failed_id}
    return sorted(failed | last)


def after_deliveries(
    endpoint: Endpoint, rows: Mapping[int, Notification], ended: Iterable[EndedTry], now: datetime
) -> DeliveryEffects:
    """The effects of tries that have ended, in this order.

    `endpoint` is locked, and so are `rows`: those of `rows_needed` that still exist. Any success counts. A failure
    counts where its lease is still the row's.
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
    """An endpoint and the rows of its tries, while the ends of deliveries are applied one after the other."""

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
        """One success ends the rest and all that was counted. The event that failed last is then to blame itself."""
        last_failed = self._rows.get(self.endpoint.last_failed_id or 0)
        self.endpoint = _without_failures(self.endpoint)
        if last_failed is not None and last_failed.id != one.claim.id:
            self._blame(last_failed, one.jitter)

    def fail(self, one: EndedTry, fault: Fault) -> None:
        """A failure whose lease was still its row's."""
        # It goes behind the others that are due: otherwise two events that make their receiver hang would be the probes
        # in turn, for ever.
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
        """Rest, or rest for longer. A delivery that began before the present rest says nothing new."""
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
        """Count a failure of the event's own. While its endpoint rests or is in doubt it is delayed, never given up."""
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
        """The endpoint answers, so it does not rest any longer; but until it has taken an event, each goes alone."""
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
                # It answers: the event that failed while it rested is no longer to wait behind all others.
                last_failed_id=None,
            )
        elif endpoint.rest_from is not None:
            self.endpoint = replace(endpoint, rest_until=self._now)


def _failed_in_row(endpoint: Endpoint) -> list[int]:
    return list(json.loads(endpoint.failed_in_row or "[]"))


def enter(known: Endpoint | None, given: EndpointSettings) -> Endpoint:
    """The endpoint as a worker with these settings knows it.

    Another target starts fresh: what the last one did says nothing of it. A pause stays, an operator ends it.
    """
    entered = given.as_endpoint()
    if known is None:
        return entered
    if is_another_target(known, given):
        return replace(entered, paused_at=known.paused_at, paused_by=known.paused_by)
    return replace(known, shown=entered.shown, events=entered.events)


def is_another_target(known: Endpoint | None, given: EndpointSettings) -> bool:
    """Whether what is pending for an account goes to another place from now on."""
    return known is not None and known.target_digest != given.target.digest


def pause_endpoint(endpoint: Endpoint, act: Act) -> Endpoint:
    """Send nothing to it until somebody resumes it. What happens meanwhile waits."""
    return replace(endpoint, paused_at=act.now, paused_by=act.actor)


def resume_endpoint(endpoint: Endpoint) -> Endpoint:
    """Send to it again at once, whatever it did before: after a pause, after it answered 410, out of a rest."""
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
