"""Deliveries: which notifications may be claimed, what a failure says, and how long an event waits after its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

from worker.domain.records.notifications import DeliveryOutcome, DeliveryResult, Rank

LEASE = timedelta(seconds=20)
"""How long a claim belongs to its process, by the database's clock."""
SENDING_SECONDS = 12.0
"""With less than this left of its lease nothing is sent: 10 s for the exchange, the rest to note how it ended."""
LATE_CLOCK = timedelta(seconds=10)
"""The database's clock may be read so long before the rows that it is compared with. A claim that came later than this
is never sent: it has less than SENDING_SECONDS of its lease left."""
MOST_AT_ONCE = 8
"""Deliveries to one endpoint that one process makes at a time."""
EVENT_WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""How long an event waits after each of its own failures, some 75 hours in all. It is given up at the next one."""
# One of so many claims takes what is not a result first, so that a flood of results does not stop it.
_CLAIMS_PER_BULK = 5
# Statuses by which a receiver, or a proxy before it, says that it takes nothing at present.
_NOT_NOW = frozenset({429, 502, 503, 504})
_GONE = 410


class Fault(Enum):
    """What a failure is the fault of."""

    ENDPOINT = "endpoint"
    """It takes nothing at present: it rests, and no event is blamed."""
    EVENT = "event"
    """This event is delayed. Where others fail in the same way, the endpoint is in doubt."""
    GONE = "gone"
    """The receiver wants no more events at all."""


def fault_of(result: DeliveryResult) -> Fault | None:
    """What a try's end is the fault of; None for a success."""
    if result.outcome is DeliveryOutcome.ACCEPTED:
        return None
    if result.http_status == _GONE:
        return Fault.GONE
    if result.outcome in (DeliveryOutcome.UNREACHABLE, DeliveryOutcome.TIMEOUT) or result.http_status in _NOT_NOW:
        return Fault.ENDPOINT
    return Fault.EVENT


def may_still_send(*, claimed: float, boot: float) -> bool:
    """Whether a delivery may begin. Both are readings of the boot clock: before its claim, and now."""
    return boot - claimed <= LEASE.total_seconds() - SENDING_SECONDS


def free_places(account: str, under_way: Mapping[str, int], *, threads: int, others_wait: bool) -> int:
    """How many more deliveries to an account's endpoint this process can start at once.

    `under_way` counts its deliveries by account, `threads` are all that it has for them. `others_wait`: notifications
    of other accounts are due, so one endpoint that hangs may not take more than half of the threads.
    """
    most = min(MOST_AT_ONCE, threads // 2) if others_wait else MOST_AT_ONCE
    return max(0, min(most - under_way.get(account, 0), threads - sum(under_way.values())))


def ranks_in_turn(claim_number: int, *, in_doubt: bool) -> tuple[Rank, ...]:
    """The ranks in the order in which a claim takes them: four of five take results first, one of ten what has failed.

    Of an endpoint in doubt what has failed goes after all that was never tried: that may be taken.
    """
    if claim_number % _CLAIMS_PER_BULK != _CLAIMS_PER_BULK - 1:
        return Rank.RESULT, Rank.BULK, Rank.RETRY
    if in_doubt or claim_number % (2 * _CLAIMS_PER_BULK) < _CLAIMS_PER_BULK:
        return Rank.BULK, Rank.RESULT, Rank.RETRY
    return Rank.RETRY, Rank.BULK, Rank.RESULT


def is_due(due_at: datetime, tries: int, now: datetime) -> bool:
    """Whether an event has waited long enough, or waits longer than it should: a clock was stepped back."""
    longest = EVENT_WAITS[min(tries, len(EVENT_WAITS)) - 1] if tries else timedelta()
    return due_at <= now or due_at > now + longest + LATE_CLOCK


def lease_ends_between(now: datetime) -> tuple[datetime, datetime]:
    """A row is leased while its lease ends after the first of these times and not after the second.

    A lease that ends later was written before a clock was stepped back, and has run out.
    """
    return now, now + LEASE + LATE_CLOCK


def choose_probe(due: Sequence[int], last_failed: int | None) -> int | None:
    """Which of these events, in order, shows whether the endpoint has recovered; None where there is none.

    Not the one that failed last while others wait: it may be the reason why the endpoint seems to be away.
    """
    return next((event for event in due if event != last_failed), due[0] if due else None)


def wait_after(tries: int, jitter: float) -> timedelta | None:
    """How long an event waits after so many failures of its own, up to a tenth less by `jitter` (0 to 1); None where it
    is given up."""
    return EVENT_WAITS[tries - 1] * (1 - jitter / 10) if tries <= len(EVENT_WAITS) else None
