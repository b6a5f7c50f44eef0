"""The production policy in virtual time: its own code learns, schedules and picks; only the table is a list."""

from bisect import bisect_right, insort
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from math import inf

from benchmarks.schedule.scenario import Scenario
from worker.domain.queries.choose_batch import each_once
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import IdKind, Lane
from worker.domain.records.queries import Candidate, Pick
from worker.domain.scheduling.ages_and_observations import (
    BUCKETS,
    NEVER,
    Observations,
    Poll,
    ages_of,
    bucket_of,
    cohort_of,
)
from worker.domain.scheduling.learning import RELEARN_WINDOWS, Learned
from worker.domain.scheduling.pick_by_priority import (
    SPARE_PAGE_SIZE,
    exhausted,
    fill_spare_positions,
    last_page_size_of,
    page_size_of,
    pick_batch,
    priority_of,
)
from worker.domain.scheduling.poll_schedule import (
    first_due,
    next_due,
    prior_schedule,
    schedule_of,
)

_START = datetime(2026, 1, 1, tzinfo=UTC)


class Adaptive:
    """Chooses as a worker chooses."""

    def __init__(self, scenario: Scenario) -> None:
        self.rules = Rules(
            window_seconds=scenario.window_seconds,
            batch_size=scenario.batch_size,
            grace_seconds=scenario.grace_seconds,
        )
        self.ages = ages_of(self.rules)
        self.learned = Learned(self.ages)
        self.observations = Observations()
        self.schedule = prior_schedule(self.rules)
        self.buckets: list[list[tuple[datetime, int]]] = [[] for _ in range(BUCKETS)]
        self.pending: dict[int, Candidate] = {}
        self.batches = 0
        self.computed_at = 0.0

    def submitted(self, order: int, at: float) -> None:
        submitted = _time_of(at)
        self.observations.submitted[cohort_of(submitted.timestamp(), self.rules)] += 1
        self._put(
            Candidate(
                order_id=order,
                id_kind=IdKind.REQUEST_ID,
                lane=Lane.BATCH,
                submitted_at=submitted,
                due_at=first_due(submitted, self.rules),
            )
        )

    def called_back(self, order: int, at: float) -> None:
        candidate = self.pending.pop(order)
        cohort = cohort_of(candidate.submitted_at.timestamp(), self.rules)
        self.observations.called_back[cohort, self._bin(candidate, _time_of(at))] += 1

    def choose(self, now: float, limit: int) -> Sequence[int]:
        at = _time_of(now)
        if now - self.computed_at >= RELEARN_WINDOWS * self.rules.window_seconds:
            self._learn(at)
            self.computed_at = now
        picks = self._pick(at, limit)
        self.batches += bool(picks)
        return [pick.order_id for pick in picks]

    def answered(self, now: float, polled: Sequence[int], settled: Collection[int]) -> None:
        at, hits = _time_of(now), set(settled)
        for order in polled:
            candidate = self.pending.pop(order)
            last_polled = candidate.queried_at
            last = NEVER if last_polled is None else self._bin(candidate, last_polled)
            cohort = cohort_of(candidate.submitted_at.timestamp(), self.rules)
            self.observations.polls[Poll(cohort, last, self._bin(candidate, at), order in hits)] += 1
            if order not in hits:
                self._put(
                    Candidate(
                        order_id=order,
                        id_kind=candidate.id_kind,
                        lane=candidate.lane,
                        submitted_at=candidate.submitted_at,
                        queried_at=at,
                        due_at=next_due(candidate.submitted_at, self.schedule, at, self.rules),
                    )
                )

    def _pick(self, at: datetime, limit: int) -> tuple[Pick, ...]:
        """A batch out of both ends of each bucket, and out of more of those whose first page it would exhaust."""
        pages = [
            one
            for bucket in range(BUCKETS)
            for one in (
                *self._first(bucket, at, page_size_of(bucket, limit)),
                *self._last(bucket, at, last_page_size_of(bucket, limit)),
            )
        ]
        picks = self._pick_of(pages, at, limit)
        more = [one for bucket in exhausted(pages, picks, limit) for one in self._first(bucket, at, limit)]
        picks = self._pick_of([*pages, *more], at, limit) if more else picks
        free = limit - len(picks)
        if not picks or not free:
            return picks
        spare = [one for bucket in range(1, BUCKETS) for one in self._not_due(bucket, at, SPARE_PAGE_SIZE)]
        return (*picks, *fill_spare_positions(spare, free, self.schedule, at, self.rules))

    def _pick_of(self, candidates: Sequence[Candidate], at: datetime, limit: int) -> tuple[Pick, ...]:
        """A batch out of these."""

        def priority(candidate: Candidate) -> float:
            return priority_of(candidate, self.schedule, at)

        return pick_batch(each_once(candidates), limit, priority=priority, batch_number=self.batches)

    def _learn(self, at: datetime) -> None:
        now = at.timestamp()
        self.learned.fold(self.observations, now, self.rules)
        self.observations = Observations()
        fits = len(self.pending) <= self.rules.batch_size
        self.schedule = schedule_of(self.learned, now, self.rules, fits_one_batch=fits)

    def _bin(self, candidate: Candidate, at: datetime) -> int:
        return self.ages.bin_of((at - candidate.submitted_at).total_seconds())

    def _put(self, candidate: Candidate) -> None:
        last_polled = candidate.queried_at
        bucket = bucket_of(
            None if last_polled is None else (last_polled - candidate.submitted_at).total_seconds(), self.rules
        )
        self.pending[candidate.order_id] = candidate._replace(age_bucket=bucket)
        insort(self.buckets[bucket], (candidate.due_at, candidate.order_id))

    def _first(self, number: int, at: datetime, limit: int) -> list[Candidate]:
        """The first due orders of an age bucket, as an index read returns them."""
        entries, found, seen = self.buckets[number], list[Candidate](), 0
        for due_at, order in entries:
            if due_at > at or len(found) == limit:
                break
            seen += 1
            candidate = self.pending.get(order)
            if candidate is not None and candidate.due_at == due_at:
                found.append(candidate)
        entries[:seen] = [(candidate.due_at, candidate.order_id) for candidate in found]
        return found

    def _last(self, number: int, at: datetime, limit: int) -> list[Candidate]:
        """Those that became due last: the same index, read backwards."""
        entries, found = self.buckets[number], list[Candidate]()
        end = seen = bisect_right(entries, (at, inf))
        while seen and len(found) < limit:
            seen -= 1
            due_at, order = entries[seen]
            candidate = self.pending.get(order)
            if candidate is not None and candidate.due_at == due_at:
                found.append(candidate)
        entries[seen:end] = [(candidate.due_at, candidate.order_id) for candidate in reversed(found)]
        return found

    def _not_due(self, number: int, at: datetime, limit: int) -> list[Candidate]:
        """Those that become due next: the same index, read on."""
        entries, found = self.buckets[number], list[Candidate]()
        start = seen = bisect_right(entries, (at, inf))
        while seen < len(entries) and len(found) < limit:
            due_at, order = entries[seen]
            seen += 1
            candidate = self.pending.get(order)
            if candidate is not None and candidate.due_at == due_at:
                found.append(candidate)
        entries[start:seen] = [(candidate.due_at, candidate.order_id) for candidate in found]
        return found


def _time_of(seconds: float) -> datetime:
    """A time of a scenario as a datetime, which the worker's code uses."""
    return _START + timedelta(seconds=seconds)
