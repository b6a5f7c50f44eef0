"""Decide which notifications may be claimed, what caused a failed delivery, and how long an event waits after a
failure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, Rank

LEASE = timedelta(seconds=20)
"""How long a notification stays claimed by one process, by the database's clock."""
SENDING_SECONDS = 12.0
"""A notification is sent only if at least this much of its lease is left: 10 s for the exchange, and 2 s to record the
result."""
LATE_CLOCK = timedelta(seconds=10)
"""The database's clock may be read up to this long before the rows are read whose times are compared with it. If a
claim takes longer, nothing is sent, because less than SENDING_SECONDS of the lease is left."""
MOST_AT_ONCE = 8
"""The most deliveries to one endpoint that one process makes at a time."""
EVENT_WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""How long an event waits after each failure of its own, about 75 hours in total. After one more failure the event is
given up."""
# One of this many claims takes other notifications before results, so that a flood of results does not stop the other
# notifications.
_CLAIMS_PER_BULK = 5
# HTTP statuses by which the receiver, or a proxy in front of it, says that it takes nothing at present.
_NOT_NOW = frozenset({429, 502, 503, 504})
_GONE = 410


class Fault(Enum):
    """The cause of a failed delivery."""

    ENDPOINT = "endpoint"
    """The endpoint takes nothing at present. Then the endpoint rests, and the event is not blamed."""
    EVENT = "event"
    """The endpoint refused the event. Then the event is delayed. If other events are refused, too, the endpoint is in
    doubt."""
    GONE = "gone"
    """The receiver wants no more events at all."""


def fault_of(result: DeliveryResult) -> Fault | None:
    """Return the cause of a failed delivery; None if the delivery succeeded."""
    if result.outcome is DeliveryOutcome.ACCEPTED:
        return None
    if result.http_status == _GONE:
        return Fault.GONE
    if result.outcome in (DeliveryOutcome.UNREACHABLE, DeliveryOutcome.TIMEOUT) or result.http_status in _NOT_NOW:
        return Fault.ENDPOINT
    return Fault.EVENT


def may_still_send(*, claimed: float, boot: float) -> bool:
    """Whether enough of the lease is left to begin a delivery. `claimed` is the boot clock before the notification was
    claimed; `boot` is the boot clock now."""
    return boot - claimed <= LEASE.total_seconds() - SENDING_SECONDS


def free_places(account: str, under_way: Mapping[str, int], *, threads: int, others_wait: bool) -> int:
    """Return how many more deliveries to an account's endpoint this process can start now.

    `under_way` counts the deliveries of this process by account; `threads` is the number of its threads for deliveries.
    If `others_wait`, notifications of other accounts are due. Then one endpoint that hangs must not take more than half
    of the threads.
    """
    most = min(MOST_AT_ONCE, threads // 2) if others_wait else MOST_AT_ONCE
    return max(0, min(most - under_way.get(account, 0), threads - sum(under_way.values())))


def ranks_in_turn(claim_number: int, *, in_doubt: bool) -> tuple[Rank, ...]:
    """Return the ranks in the order in which a claim takes notifications.

    Four of five claims take results first, and one of ten takes failed notifications first. If the endpoint is in
    doubt, failed notifications always come last, because the endpoint may accept notifications that were never tried.
    """
    if claim_number % _CLAIMS_PER_BULK != _CLAIMS_PER_BULK - 1:
        return Rank.RESULT, Rank.BULK, Rank.RETRY
    if in_doubt or claim_number % (2 * _CLAIMS_PER_BULK) < _CLAIMS_PER_BULK:
        return Rank.BULK, Rank.RESULT, Rank.RETRY
    return Rank.RETRY, Rank.BULK, Rank.RESULT


def is_due(due_at: datetime, tries: int, now: datetime) -> bool:
    """Whether an event has waited long enough. An event is also due if `due_at` lies too far ahead, because a clock was
    stepped back."""
    longest = EVENT_WAITS[min(tries, len(EVENT_WAITS)) - 1] if tries else timedelta()
    return due_at <= now or due_at > now + longest + LATE_CLOCK


def lease_ends_between(now: datetime) -> tuple[datetime, datetime]:
    """Return two times: a row is leased if its lease ends after the first and not after the second.

    A lease that ends after the second time was written before a clock was stepped back. It counts as run out.
    """
    return now, now + LEASE + LATE_CLOCK


def choose_probe(due: Sequence[int], last_failed: int | None) -> int | None:
    """Choose the event whose delivery tests whether the endpoint has recovered; None if no event is due. `due` are the
    due events, in the order in which they are sent.

    The event that failed last is chosen only if no other event is due. It may itself be the reason why the endpoint
    seems to be away.
    """
    return next((event for event in due if event != last_failed), due[0] if due else None)


def wait_after(tries: int, jitter: float) -> timedelta | None:
    """Return how long an event waits after `tries` failures of its own; None if the event is given up. `jitter` (0 to
    1) shortens the wait by up to a tenth."""
    return EVENT_WAITS[tries - 1] * (1 - jitter / 10) if tries <= len(EVENT_WAITS) else None
