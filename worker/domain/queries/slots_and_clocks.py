"""The budget: when one slot of an account SID may carry the next query.

A slot's row gives the time of the next query twice: by the database's clock, and by the boot clock of the host that
wrote the row. Until that host reboots, only its boot clock decides there, so a step of another clock neither opens nor
blocks the slot. On other hosts, and after a reboot, the database's clock decides.

The row also holds the window that it was written with. Workers with different windows share a database safely, because
the longest window applies to all. A worker with a longer window raises the row's window. A worker with a shorter window
sends no query in the slot.

A row may be older than the last query if the database was restored from a dump, or failed over and lost commits. Such a
row does not show when the next query may be sent, so the slot is closed for one reservation.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum

from worker.domain.records.accounts import DatabaseChanges, DatabaseIdentity, Provenance, Reading, Rules, Slot
from worker.domain.records.monitoring import Finding, FindingKind

# The times in a row are rounded up to whole microseconds. So a row may seem to have been written a little later than it
# was.
_ROUNDING_SECONDS = 0.00001
REPORTED_WITHIN = timedelta(hours=1)
"""For how long it is reported that the database is another one than before."""
TOO_MANY = 3
"""If the database is another one this often within `REPORTED_WITHIN`, the cause is no restore: sessions reach several
databases in turn."""


class Permission(Enum):
    """Whether a slot may carry a query now."""

    QUERY = "query"
    WAIT = "wait"
    CLAMP = "clamp"
    """The slot would open later than the longest wait from now, so a clock was stepped. Start the wait again from
    now."""
    REFUSE = "refuse"
    """The row was written with a longer window than ours: send no query in this slot, and leave the row as it is."""


def may_query(slot: Slot, now: Reading, rules: Rules) -> Permission:
    """Decide whether a slot may carry a query.

    The caller must first lock the slot's row, read the clocks under that lock, and raise the row's window.
    """
    if is_longer(slot.window_seconds, rules.window_seconds):
        return Permission.REFUSE
    ahead = _seconds_ahead(slot, now)
    if ahead <= 0:
        return Permission.QUERY
    is_stepped = not boot_clock_decides(slot, now) and ahead > _longest_wait(slot, rules)
    return Permission.CLAMP if is_stepped else Permission.WAIT


def opens_in(slot: Slot, now: Reading, rules: Rules) -> float:
    """Seconds until a slot must be tried: 0 if it may carry a query now, or if its wait must be clamped.

    The result is infinite if the slot's window is longer than ours. If the row is not locked, the result is only a hint
    when to lock the row and decide.
    """
    match may_query(slot, now, rules):
        case Permission.WAIT:
            return _seconds_ahead(slot, now)
        case Permission.REFUSE:
            return math.inf
    return 0.0


def is_longer(one_window: float, other_window: float) -> bool:
    """Whether one window is longer than another, by more than the rounding error of a row. Both are in seconds."""
    return one_window - other_window > _ROUNDING_SECONDS


def raise_window(slot: Slot, rules: Rules) -> Slot:
    """The slot with our window, if ours is longer: both due times and the wait grow by the difference of the two
    windows.

    So due time minus wait is still the time at which the row was written. And the next query comes at least our window
    after the last one, even if a process with a shorter window sent the last one. Boot id and token stay. If the row's
    window is unknown, our whole window is added.
    """
    if not is_longer(rules.window_seconds, slot.window_seconds):
        return slot
    more = rules.window_seconds - slot.window_seconds
    return replace(
        slot,
        due_at=slot.due_at + timedelta(seconds=more),
        boot_due=slot.boot_due + more,
        wait_seconds=slot.wait_seconds + more,
        window_seconds=rules.window_seconds,
    )


def lower_window(slot: Slot, now: Reading, rules: Rules, window_seconds: float) -> Slot:
    """The slot after an operator shortens its window. It is closed at first for one full reservation with the longer
    window.

    A slot whose window is not longer than `window_seconds` stays as it is. The token stays, so the sender of the last
    query may still tighten the slot, but only to the window of that query.
    """
    if not is_longer(slot.window_seconds, window_seconds):
        return slot
    # The wait is at least as long as the row's: the writer of the row may have a longer deadline than ours.
    wait = _longest_wait(slot, replace(rules, window_seconds=slot.window_seconds))
    return replace(_closed_for(wait, now, slot.token, rules), window_seconds=window_seconds)


def clamp(slot: Slot, now: Reading, rules: Rules) -> Slot:
    """The slot with its wait started again from now, by the database's clock. Boot id, boot time and token stay."""
    wait = _longest_wait(slot, rules)
    return replace(slot, due_at=now.database + timedelta(seconds=wait), wait_seconds=wait)


def reserve(now: Reading, rules: Rules, token: str) -> Slot:
    """The slot once a query is granted: closed until one window after the latest time at which this query may be
    sent."""
    return _closed_for(rules.reservation_seconds, now, token, rules)


def begin(now: Reading, rules: Rules, *, longest_window_seconds: float) -> Slot:
    """A slot that is seen for the first time: closed for one full reservation, because someone may have just sent a
    query.

    `longest_window_seconds` is the longest window of the SID's other slots. The new slot's window is not shorter.
    """
    longest = replace(rules, window_seconds=max(rules.window_seconds, longest_window_seconds))
    return reserve(now, longest, token="")


def hold(slot: Slot, now: Reading, rules: Rules, token: str) -> Slot:
    """The slot after an operator closed it: closed for a full reservation from now, as if a query had just been
    granted.

    The row's two due times are not used. A stepped clock may have set them, and after a failover that lost commits, the
    row may be older than the last query. Instead, the wait begins now and is at least as long as the row's own wait.
    The row's window stays, since only a worker raises it. The token is fresh, so the answer to a query under way does
    not tighten the slot.
    """
    longest = _with_window_of(slot, rules)
    held = _closed_for(_longest_wait(slot, longest), now, token, longest)
    return replace(held, window_seconds=slot.window_seconds)


def tighten(slot: Slot, now: Reading, rules: Rules) -> Slot:
    """The slot after a whole answer: closed for a window from now.

    `now` was read after the answer came, so the platform saw the query earlier than `now`. The row's window is used if
    it is longer than ours: somebody may have raised it since this query was granted.
    """
    longest = _with_window_of(slot, rules)
    return _closed_for(longest.spacing_seconds, now, slot.token, longest)


def is_too_late_to_send(*, started: float, boot: float, deadline_seconds: float) -> bool:
    """Whether less than a third of the deadline is left. `started` and `boot` are boot-clock seconds."""
    return started + deadline_seconds - boot < deadline_seconds / 3


def boot_clock_decides(slot: Slot, now: Reading) -> bool:
    """Whether the row was written on the same host as this reading, and since the same boot. If not, the database's
    clock decides."""
    written_at = slot.boot_due - slot.wait_seconds
    return slot.boot_id == now.boot_id and written_at <= now.boot + _ROUNDING_SECONDS


def _seconds_ahead(slot: Slot, now: Reading) -> float:
    if boot_clock_decides(slot, now):
        return slot.boot_due - now.boot
    return (slot.due_at - now.database).total_seconds()


def _longest_wait(slot: Slot, rules: Rules) -> float:
    return max(slot.wait_seconds, rules.reservation_seconds)


def _with_window_of(slot: Slot, rules: Rules) -> Rules:
    return replace(rules, window_seconds=max(rules.window_seconds, slot.window_seconds))


def _closed_for(seconds: float, now: Reading, token: str, rules: Rules) -> Slot:
    return Slot(
        due_at=now.database + timedelta(seconds=seconds),
        boot_id=now.boot_id,
        boot_due=now.boot + seconds,
        wait_seconds=seconds,
        token=token,
        window_seconds=rules.window_seconds,
    )


def is_another(written_in: Provenance, present: DatabaseIdentity) -> bool:
    """Whether a row was written in another database than the present one. If so, its slot must be closed."""
    return present.differs_from(written_in.identity)


def is_noted(written_in: Provenance, present: DatabaseIdentity) -> bool:
    """Whether the row holds all that is known about the present database, so that nothing needs to be written."""
    known = written_in.identity
    return known == present or (not present.differs_from(known) and present.with_facts_of(known) == known)


def noted(written_in: Provenance, present: DatabaseIdentity, now: datetime) -> Provenance:
    """The provenance to write into a slot's row. If the row holds no database identity yet, it takes the present one,
    and no change is recorded."""
    if is_another(written_in, present):
        return Provenance(identity=present, changes=(*written_in.changes, now)[-TOO_MANY:])
    return replace(written_in, identity=present.with_facts_of(written_in.identity))


def changed_at(changes: DatabaseChanges) -> datetime | None:
    """When a worker last noted, within the last hour, that the database is another one; None if none has."""
    latest = max(changes.changes, default=None)
    return latest if latest is not None and latest >= changes.now - REPORTED_WITHIN else None


def changes_too_often(changes: DatabaseChanges) -> bool:
    """Whether workers noted three times within the last hour that the database is another one."""
    since = changes.now - REPORTED_WITHIN
    return sum(at >= since for at in changes.changes) >= TOO_MANY


def database_findings(changes: DatabaseChanges | None) -> Iterator[Finding]:
    """The findings about the database's identity; none if the last change is over an hour ago, or nothing is known."""
    if changes is None:
        return
    if changes.is_another:
        yield Finding(kind=FindingKind.ANOTHER_DATABASE)
    elif (latest := changed_at(changes)) is not None:
        kind = FindingKind.DATABASE_CHANGES if changes_too_often(changes) else FindingKind.DATABASE_CHANGED
        yield Finding(kind=kind, values={"lasts": changes.now - latest})
