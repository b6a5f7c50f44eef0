"""Deliveries to one endpoint in virtual time: outages, wrong routes, and events that no receiver takes, at random."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.delivery import LEASE, MOST_AT_ONCE, choose_probe, is_due, ranks_in_turn
from worker.domain.endpoint_rest import after_deliveries, begin_probe, permission, rows_needed
from worker.domain.records.delivery_tries import (
    Claim,
    DeliveryOutcome,
    DeliveryResult,
    EndedTry,
    Permission,
    TriedRow,
)
from worker.domain.records.notifications import Endpoint, NotificationState, Rank, TransportKind

START = datetime(2026, 11, 26, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
OK = DeliveryResult(outcome=DeliveryOutcome.ACCEPTED, http_status=200)
TIMEOUT = DeliveryResult(outcome=DeliveryOutcome.TIMEOUT)
WRONG_ROUTE = DeliveryResult(outcome=DeliveryOutcome.HTTP_ERROR, http_status=404)
AWAY = DeliveryResult(outcome=DeliveryOutcome.HTTP_ERROR, http_status=503)
BROKEN = DeliveryResult(outcome=DeliveryOutcome.HTTP_ERROR, http_status=500)

ENDPOINT = Endpoint(account="a", transport=TransportKind.WEBHOOK, target_digest="", shown="")
EVENTS = 24
LONGEST_REST = HOUR
"""After 75 hours. Each probe may be an event that no receiver takes, and then another rest follows."""


@dataclass
class Line:
    """One process that sends to one endpoint."""

    fault: DeliveryResult
    until: datetime
    """All deliveries end with the fault until then."""
    bad: Mapping[int, DeliveryResult]
    """Events that always end so."""
    now: datetime = START
    endpoint: Endpoint = ENDPOINT
    rows: dict[int, TriedRow] = field(default_factory=dict)
    under_way: list[tuple[datetime, Claim]] = field(default_factory=list)
    claims: int = 0
    delivered_at: dict[int, datetime] = field(default_factory=dict)

    def add(self, event: int) -> None:
        """A result that is to be told now."""
        self.rows[event] = TriedRow(
            id=event,
            event_id=f"msg_{event}",
            order_id=event,
            state=NotificationState.PENDING,
            rank=Rank.RESULT,
            tries=0,
            due_at=self.now,
            lease_token=None,
        )

    def run_until(self, end: datetime) -> None:
        """Claim and note, as the senders do, from one moment at which something can happen to the next."""
        while self.now < end:
            self._note()
            self._claim()
            self.now = max(self.now + SECOND / 10, min([end, *self._next_moments()]))

    def _next_moments(self) -> list[datetime]:
        moments = [ends for ends, _ in self.under_way]
        if self.endpoint.rest_until is not None and self.endpoint.rest_until > self.now:
            return [*moments, self.endpoint.rest_until]
        waiting = [row.due_at for row in self.rows.values() if self._waits(row)]
        return moments + waiting if len(self.under_way) < MOST_AT_ONCE else moments

    def _waits(self, row: TriedRow) -> bool:
        return row.state is NotificationState.PENDING and row.lease_token is None

    def _note(self) -> None:
        ended = [
            EndedTry(claim=claim, result=self._result(claim.id), jitter=0.5)
            for ends, claim in self.under_way
            if ends <= self.now
        ]
        if not ended:
            return
        self.under_way = [(ends, claim) for ends, claim in self.under_way if ends > self.now]
        needed = {event: self.rows[event] for event in rows_needed(self.endpoint, ended)}
        effects = after_deliveries(self.endpoint, needed, ended, self.now)
        self.endpoint = effects.endpoint
        self.rows |= {row.id: row for row in effects.rows}
        for one in effects.delivered:
            self.delivered_at[one.claim.id] = self.now
            self.rows[one.claim.id] = replace(self.rows[one.claim.id], state=NotificationState.DELIVERED)

    def _result(self, event: int) -> DeliveryResult:
        return self.fault if self.now <= self.until else self.bad.get(event, OK)

    def _claim(self) -> None:
        allowed = permission(self.endpoint, self.now)
        if allowed is Permission.NOTHING:
            return
        ranks = ranks_in_turn(self.claims)
        self.claims += 1
        due = [row for row in self.rows.values() if self._waits(row) and is_due(row.due_at, row.tries, self.now)]
        due.sort(key=lambda row: (ranks.index(row.rank), row.due_at, row.id))
        chosen = [row.id for row in due[: MOST_AT_ONCE - len(self.under_way)]]
        if allowed is Permission.PROBE:
            probe = choose_probe([row.id for row in due], self.endpoint.last_failed_id)
            chosen = [] if probe is None else [probe]
            if chosen:
                self.endpoint = begin_probe(self.endpoint, self.now)
        for event in chosen:
            self._send(event)

    def _send(self, event: int) -> None:
        hangs = (self.fault if self.now <= self.until else self.bad.get(event, OK)) is TIMEOUT
        claim = Claim(
            id=event,
            account="a",
            event_id=f"msg_{event}",
            order_id=event,
            body="",
            token=f"claim {self.claims}",
            claimed_at=self.now,
            rest_from=self.endpoint.rest_from,
        )
        self.rows[event] = replace(self.rows[event], lease_token=claim.token)
        took = 10 * SECOND if hangs else SECOND / 10
        assert took < LEASE
        self.under_way.append((self.now + took, claim))


@pytest.mark.slow
@given(
    fault=st.sampled_from([TIMEOUT, AWAY, WRONG_ROUTE, BROKEN]),
    hours=st.floats(0, 100),
    bad=st.dictionaries(st.integers(0, EVENTS - 1), st.sampled_from([TIMEOUT, BROKEN, WRONG_ROUTE]), max_size=8),
    gap=st.floats(0, 30),
)
def test_after_any_fault_every_event_is_delivered_that_a_receiver_takes_and_no_other_holds_it_up(
    fault: DeliveryResult, hours: float, bad: dict[int, DeliveryResult], gap: float
) -> None:
    line = Line(fault=fault, until=START + hours * HOUR, bad=bad)
    for event in range(EVENTS):
        line.add(event)
        line.run_until(line.now + gap * SECOND)
    recovered = max(line.until, line.now)
    line.run_until(recovered + (len(bad) + 2) * LONGEST_REST)
    assert set(line.delivered_at) == set(range(EVENTS)) - set(bad)
    line.run_until(recovered + 120 * HOUR)
    # While others succeed, what no receiver takes is given up in the end.
    states = {line.rows[event].state for event in bad}
    assert NotificationState.DELIVERED not in states


@given(kind=st.sampled_from([TIMEOUT, BROKEN]))
def test_a_bad_event_is_given_up_beside_good_ones_and_never_stops_them_for_long(kind: DeliveryResult) -> None:
    line = Line(fault=OK, until=START, bad={0: kind})
    line.add(0)
    for event in range(1, 160):
        line.add(event)
        line.run_until(line.now + HOUR / 2)
        assert event in line.delivered_at
    assert line.rows[0].state is NotificationState.GAVE_UP
    assert all(row.state is NotificationState.DELIVERED for row in line.rows.values() if row.id != 0)
