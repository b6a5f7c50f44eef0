"""Deliveries to one endpoint in virtual time: outages, wrong routes, and events that no receiver takes, at random."""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import make_claim, make_endpoint, make_notification
from tests.unit.domain.notifications.test_resting_endpoints import OK, TIMEOUT, answered
from worker.domain.notifications.deliveries import LEASE, MOST_AT_ONCE, choose_probe, ranks_in_turn
from worker.domain.notifications.resting_endpoints import (
    after_deliveries,
    begin_probe,
    is_in_doubt,
    permission,
    rows_needed,
)
from worker.domain.records.notifications import (
    Claim,
    DeliveryResult,
    EndedTry,
    Endpoint,
    Notification,
    NotificationState,
    Permission,
    Rank,
)

START = datetime(2026, 11, 26, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
WRONG_ROUTE, AWAY, BROKEN = answered(404), answered(503), answered(500)

ENDPOINT = make_endpoint("a")
EVENTS = 24
LONGEST_REST = HOUR
"""After 75 hours. Each probe may be an event that no receiver takes, and then another rest follows."""


@dataclass
class Line:
    """Processes that send to one endpoint."""

    fault: DeliveryResult
    until: datetime
    """All deliveries end with the fault until then."""
    bad: Mapping[int, DeliveryResult]
    """Events that always end so."""
    processes: int = 1
    now: datetime = START
    endpoint: Endpoint = ENDPOINT
    rows: dict[int, Notification] = field(default_factory=dict)
    waiting: dict[Rank, list[tuple[datetime, int]]] = field(default_factory=lambda: {rank: [] for rank in Rank})
    """By rank, when each event that waits is due: a heap. What has changed since is passed over."""
    under_way: list[tuple[datetime, Claim]] = field(default_factory=list)
    claims: int = 0
    delivered_at: dict[int, datetime] = field(default_factory=dict)

    def add(self, event: int) -> None:
        """A result that is to be told now."""
        self._put(make_notification(event, due_at=self.now))

    def run_until(self, end: datetime, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Claim and note, as the senders do, from one moment at which something can happen to the next."""
        while self.now < end and not stop():
            self._note()
            self._claim()
            self.now = max(self.now + SECOND / 1000, min([end, *self._next_moments()]))

    def _put(self, row: Notification) -> None:
        self.rows[row.id] = row
        if self._waits(row):
            heapq.heappush(self.waiting[row.rank], (row.due_at, row.id))

    def _next_moments(self) -> list[datetime]:
        moments = [ends for ends, _ in self.under_way]
        if self.endpoint.rest_until is not None and self.endpoint.rest_until > self.now:
            return [*moments, self.endpoint.rest_until]
        waiting = [due for rank in Rank if (due := self._first(rank)) is not None]
        return moments + waiting if self._places else moments

    @property
    def _places(self) -> int:
        return MOST_AT_ONCE * self.processes - len(self.under_way)

    def _waits(self, row: Notification) -> bool:
        return row.state is NotificationState.PENDING and row.lease_token is None

    def _first(self, rank: Rank) -> datetime | None:
        """When the first event of a rank is due."""
        heap = self.waiting[rank]
        while heap:
            due, event = heap[0]
            row = self.rows[event]
            if self._waits(row) and (row.due_at, row.rank) == (due, rank):
                return due
            heapq.heappop(heap)
        return None

    def _take(self, rank: Rank) -> Iterator[int]:
        while (due := self._first(rank)) is not None and due <= self.now:
            yield heapq.heappop(self.waiting[rank])[1]

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
        for row in effects.rows:
            self._put(row)
        for one in effects.delivered:
            self.delivered_at[one.claim.id] = self.now
            self.rows[one.claim.id] = replace(self.rows[one.claim.id], state=NotificationState.DELIVERED)

    def _result(self, event: int) -> DeliveryResult:
        return self.fault if self.now <= self.until else self.bad.get(event, OK)

    def _claim(self) -> None:
        allowed = permission(self.endpoint, self.now)
        if allowed is Permission.NOTHING:
            return
        ranks = ranks_in_turn(self.claims, in_doubt=is_in_doubt(self.endpoint))
        self.claims += 1
        most = self._places if allowed is Permission.ANY else 2
        due = list(islice((event for rank in ranks for event in self._take(rank)), most))
        chosen = due
        if allowed is Permission.PROBE:
            probe = choose_probe(due, self.endpoint.last_failed_id)
            chosen = [event for event in due if event == probe]
            if chosen:
                self.endpoint = begin_probe(self.endpoint, self.now)
        for event in due:
            if event in chosen:
                self._send(event)
            else:
                self._put(self.rows[event])

    def _send(self, event: int) -> None:
        hangs = (self.fault if self.now <= self.until else self.bad.get(event, OK)) is TIMEOUT
        claim = make_claim(event, token=f"claim {self.claims}", claimed_at=self.now, rest_from=self.endpoint.rest_from)
        self.rows[event] = replace(self.rows[event], lease_token=claim.token)
        took = 10 * SECOND if hangs else SECOND / 50
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
    # What the endpoint refused waits as for a failure of its own, a day at most.
    line.run_until(
        recovered + (len(bad) + 2) * LONGEST_REST + (24 * HOUR if fault in (WRONG_ROUTE, BROKEN) else 0 * HOUR)
    )
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


def wait_of(line: Line, good: int) -> timedelta:
    """Add an event that the receiver takes; how long it waits until it is delivered, an hour at most."""
    line.add(good)
    return wait_for(line, good)


def wait_for(line: Line, good: int) -> timedelta:
    """How long it is from now until an event is delivered, an hour at most."""
    began = line.now
    line.run_until(began + HOUR, stop=lambda: good in line.delivered_at)
    return line.delivered_at.get(good, line.now) - began


@pytest.mark.slow
@pytest.mark.parametrize(
    ("earlier", "longest"), [(timedelta(0), 505), (HOUR, 15)], ids=["with it", "an hour before it"]
)
def test_ten_thousand_bad_events_hold_a_good_one_up_by_500_seconds_at_most(earlier: timedelta, longest: int) -> None:
    line = Line(fault=OK, until=START, bad=dict.fromkeys(range(10_000), BROKEN), processes=4)
    for event in range(10_000):
        line.add(event)
    line.run_until(START + earlier)
    assert wait_of(line, 10_000) <= longest * SECOND
    assert not any(row.state is NotificationState.GAVE_UP for row in line.rows.values())


@pytest.mark.slow
def test_in_doubt_a_good_event_waits_for_no_bad_one_after_a_short_restart_of_its_receiver() -> None:
    line = Line(fault=AWAY, until=START, bad=dict.fromkeys(range(10_000), BROKEN), processes=4)
    for event in range(10_000):
        line.add(event)
    line.run_until(START + 520 * SECOND)
    good = 10_000
    line.add(good)
    # The receiver is away for the try of the good event.
    line.run_until(line.now + MINUTE, stop=lambda: good in [claim.id for _, claim in line.under_way])
    line.until = line.now + SECOND / 10
    assert wait_for(line, good) < 15 * SECOND


@pytest.mark.parametrize("refused", [0.3, 0.6, 0.9])
def test_a_receiver_that_refuses_many_events_takes_the_others_within_15_seconds(refused: float) -> None:
    drawn = Random(20)
    line = Line(fault=OK, until=START, bad={event: BROKEN for event in range(3_000) if drawn.random() < refused})
    added = {}
    for event in range(3_000):
        line.add(event)
        added[event] = line.now
        line.run_until(line.now + drawn.expovariate(1.0) * MINUTE / 100)
    line.run_until(line.now + MINUTE)
    waits = [line.delivered_at[event] - added[event] for event in range(3_000) if event not in line.bad]
    assert max(waits) < 15 * SECOND
