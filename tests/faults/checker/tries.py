"""N4: the tries of an event, by what the receiver kept, before it may be given up."""

from collections.abc import Iterator, Sequence
from math import inf

from tests.faults.checker.evidence import Row
from tests.faults.notification_recorder import DRIP_HEADERS, HANG

WAITS_SECONDS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""How long an event waits after each failure of its own. It may be given up at the next one."""
_LEAST = 0.9
"""Jitter takes up to a tenth of a wait."""
_EXCHANGE_SECONDS = 12.0
"""The longest time between the arrival of a delivery and the note of its end."""
_REST = {429, 502, 503, 504}
"""Answers that speak of the endpoint and not of the event."""
_GONE = 410


def check_tries(notifications: Sequence[Row], deliveries: Sequence[Row], *, hidden: int) -> Iterator[str]:
    """The events that were given up too early. `hidden`: so many of an event's tries the receiver may not have seen."""
    needed = len(WAITS_SECONDS) + 1 - hidden
    least = _LEAST * sum(WAITS_SECONDS)
    for row in notifications:
        if row["state"] != "gave_up":
            continue
        failures = _own_failures(row["event_id"], deliveries)
        span = failures[-1] - failures[0] if failures else 0.0
        if len(failures) < needed:
            yield f"event {row['event_id']} was given up after {len(failures)} failures of its own, not {needed}"
        elif span < least and not hidden:
            yield f"event {row['event_id']} was given up {span:.0f} s after its first failure, not {least:.0f} s"


def _own_failures(event_id: str, deliveries: Sequence[Row]) -> list[float]:
    """When the tries of an event failed, as far as that may be its own fault, in seconds.

    A failure of the endpoint becomes the event's own where another event is accepted before this one is tried again.
    """
    tries = [one for one in deliveries if one["id"] == event_id]
    accepted = [one["at"] for one in deliveries if one["accepts"] and one["id"] != event_id]
    found = []
    for one, following in zip(tries, [*tries, None][1:], strict=True):
        if one["accepts"] or one["status"] == _GONE:
            continue
        until = following["at"] if following else inf
        is_its_own = one["how"] not in (HANG, DRIP_HEADERS) and one["status"] not in _REST
        if is_its_own or any(one["at"] - _EXCHANGE_SECONDS < at < until for at in accepted):
            found.append(one["at"])
    return found
