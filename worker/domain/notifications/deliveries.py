"""Decide which notifications may be claimed, what a failed delivery means, and how long its event waits."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, Rank

LEASE = timedelta(seconds=20)
"""How long a claim belongs to its process, by the database's clock."""
SENDING_SECONDS = 12.0
"""A notification is not sent if less of its lease is left: 10 s for the exchange, the rest to record the result."""
LATE_CLOCK = timedelta(seconds=10)
"""The database's clock may be read up to this long before the rows that it is compared with. A claim that takes longer
is never sent, because less than SENDING_SECONDS of its lease is left."""
MOST_AT_ONCE = 8
"""The most deliveries to one endpoint that one process makes at a time."""
EVENT_WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""How long an event waits after each of its own failures, about 75 hours in total. After one more it is given up."""
# One of this many claims takes other notifications before results, so that a flood of results does not stop them.
_CLAIMS_PER_BULK = 5
# The receiver, or a proxy in front of it, takes nothing at present.
_NOT_NOW = frozenset({429, 502, 503, 504})
_GONE = 410


class Fault(Enum):
    """The cause of a failed delivery."""

    ENDPOINT = "endpoint"
    """The endpoint takes nothing at present. It rests, and no event is blamed."""
    EVENT = "event"
    """The event is delayed. If other events fail in the same way, the endpoint is in doubt."""
    GONE = "gone"
    """The receiver wants no more events at all."""


def fault_of(result: DeliveryResult) -> Fault | None:
    """Return the cause of a failed try; None for a success."""
    if result.outcome is DeliveryOutcome.ACCEPTED:
        return None
    if result.http_status == _GONE:
        return Fault.GONE
    if result.outcome in (DeliveryOutcome.UNREACHABLE, DeliveryOutcome.TIMEOUT) or result.http_status in _NOT_NOW:
        return Fault.ENDPOINT
    return Fault.EVENT


def may_still_send(*, claimed: float, boot: float) -> bool:
    """Whether a delivery may begin. `claimed` is the boot clock before its claim, `boot` the boot clock now."""
    return boot - claimed <= LEASE.total_seconds() - SENDING_SECONDS


def free_places(account: str, under_way: Mapping[str, int], *, threads: int, others_wait: bool) -> int:
    """Return how many more deliveries to an account's endpoint this process can start now.

    `under_way` counts its deliveries by account; `threads` is the number of its threads for them. If `others_wait`,
    notifications of other accounts are due, so one endpoint that hangs must not take more than half of the threads.
    """
    most = min(MOST_AT_ONCE, threads // 2) if others_wait else MOST_AT_ONCE
    return max(0, min(most - under_way.get(account, 0), threads - sum(under_way.values())))


def ranks_in_turn(claim_number: int, *, in_doubt: bool) -> tuple[Rank, ...]:
    """Return the ranks in the order in which a claim takes them.

    Four of five claims take results first, and one of ten takes failed notifications first. If the endpoint is in
    doubt, failed ones always come last: the endpoint may take those that were never tried.
    """
    if claim_number % _CLAIMS_PER_BULK != _CLAIMS_PER_BULK - 1:
        return Rank.RESULT, Rank.BULK, Rank.RETRY
    if in_doubt or claim_number % (2 * _CLAIMS_PER_BULK) < _CLAIMS_PER_BULK:
        return Rank.BULK, Rank.RESULT, Rank.RETRY
    return Rank.RETRY, Rank.BULK, Rank.RESULT


def is_due(due_at: datetime, tries: int, now: datetime) -> bool:
    """Whether an event has waited long enough, or would wait too long because a clock was stepped back."""
    longest = EVENT_WAITS[min(tries, len(EVENT_WAITS)) - 1] if tries else timedelta()
    return due_at <= now or due_at > now + longest + LATE_CLOCK


def lease_ends_between(now: datetime) -> tuple[datetime, datetime]:
    """Return two times: a row is leased if its lease ends after the first and not after the second.

    A lease that ends later was written before a clock was stepped back, and counts as run out.
    """
    return now, now + LEASE + LATE_CLOCK


def choose_probe(due: Sequence[int], last_failed: int | None) -> int | None:
    """Choose the event to test whether the endpoint has recovered; None if none is due. `due` is in order.

    The event that failed last is chosen only if no other is due: it may be why the endpoint seems to be away.
    """
    return next((event for event in due if event != last_failed), due[0] if due else None)


def wait_after(tries: int, jitter: float) -> timedelta | None:
    """Return how long an event waits after `tries` failures of its own; None if it is given up. `jitter` (0 to 1)
    shortens the wait by up to a tenth."""
    return EVENT_WAITS[tries - 1] * (1 - jitter / 10) if tries <= len(EVENT_WAITS) else None
