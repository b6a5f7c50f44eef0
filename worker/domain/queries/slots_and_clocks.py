"""The budget: when one slot of an account SID may carry the next query.

A slot's row says when, twice: by the database's clock, and by the boot clock of the host that wrote it. On that boot
the boot clock decides alone, so no step of any clock opens or blocks the limit there; everywhere else the database's
clock does.

It also holds the window that it was written with. Workers whose windows differ share a database safely, as the longest
window holds for all: who has a longer one raises the row's, and who has a shorter one sends no query on it.

In a database that was restored from a dump, or that failed over with a loss, a row may be older than the last query. It
then says nothing of when the next one may be sent, and the slot is closed for a reservation.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum

from worker.domain.records.accounts import DatabaseChanges, DatabaseIdentity, Provenance, Reading, Rules, Slot
from worker.domain.records.watching import Finding, FindingKind

# A row keeps microseconds, rounded up: at the moment at which it was written it may seem to be written a little later.
_ROUNDING_SECONDS = 0.00001
REPORTED_WITHIN = timedelta(hours=1)
"""So long it is reported that the database is another one."""
TOO_MANY = 3
"""Changes in that time are no restore any more: sessions reach several databases in turn."""


class Permission(Enum):
    """Whether a slot may carry a query now."""

    QUERY = "query"
    WAIT = "wait"
    CLAMP = "clamp"
    """The wait lies further ahead than its own length: a clock was stepped. Set it to that length from now."""
    REFUSE = "refuse"
    """The row was written with a longer window than ours: send no query on it, and leave it as it is."""


def may_query(slot: Slot, now: Reading, rules: Rules) -> Permission:
    """Decide about a slot whose row is locked, by the clocks as read under that lock; its window was raised before."""
    if is_longer(slot.window_seconds, rules.window_seconds):
        return Permission.REFUSE
    ahead = _seconds_ahead(slot, now)
    if ahead <= 0:
        return Permission.QUERY
    is_stepped = not boot_clock_decides(slot, now) and ahead > _longest_wait(slot, rules)
    return Permission.CLAMP if is_stepped else Permission.WAIT


def opens_in(slot: Slot, now: Reading, rules: Rules) -> float:
    """Seconds until a slot is to be tried: 0 where it may carry a query now, or its wait is to be clamped.

    Infinite where its window is longer than ours. For a row that is not locked it is a hint when to lock it and decide.
    """
    match may_query(slot, now, rules):
        case Permission.WAIT:
            return _seconds_ahead(slot, now)
        case Permission.REFUSE:
            return math.inf
    return 0.0


def is_longer(one_window: float, other_window: float) -> bool:
    """Whether a window, in seconds, is longer than another by more than a row's microseconds may be off."""
    return one_window - other_window > _ROUNDING_SECONDS


def raise_window(slot: Slot, rules: Rules) -> Slot:
    """The slot with our window, if that is longer: both due times and the length grow by the difference.

    So the time of writing that the row implies stays the same, and the next query comes our window after the last one,
    also where another process sent that. Boot id and token stay. To a row without a known window all of ours is added.
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
    """The slot with a shorter window, on purpose: it begins with one full reservation of the longer one. A slot whose
    window is no longer than that stays as it is.

    The token stays: who sent the last query may still tighten the slot, but not below the window of that query.
    """
    if not is_longer(slot.window_seconds, window_seconds):
        return slot
    # No less than what was waited for so far: the deadline of who wrote the row may be longer than ours.
    wait = _longest_wait(slot, replace(rules, window_seconds=slot.window_seconds))
    return replace(_closed_for(wait, now, slot.token, rules), window_seconds=window_seconds)


def clamp(slot: Slot, now: Reading, rules: Rules) -> Slot:
    """The slot with its wait counted again from the database's clock now. Boot id, boot time and token stay."""
    wait = _longest_wait(slot, rules)
    return replace(slot, due_at=now.database + timedelta(seconds=wait), wait_seconds=wait)


def reserve(now: Reading, rules: Rules, token: str) -> Slot:
    """The slot as it stands from the grant on: closed until a window after the latest moment at which we may send."""
    return _closed_for(rules.reservation_seconds, now, token, rules)


def begin(now: Reading, rules: Rules, *, longest_window_seconds: float) -> Slot:
    """A slot seen for the first time starts with one full reservation: somebody else may have sent a query just before.

    `longest_window_seconds`: of the other slots of its SID; its own is no shorter.
    """
    longest = replace(rules, window_seconds=max(rules.window_seconds, longest_window_seconds))
    return reserve(now, longest, token="")


def hold(slot: Slot, now: Reading, rules: Rules, token: str) -> Slot:
    """The slot closed by an operator: for a full reservation from now, as if a query had just been granted.

    The row may be older than the last query, after a failover that lost commits, and either of its times may be the
    mark of a stepped clock. So neither is read: the wait is as long as the row's own, at least, and begins now, which
    is no earlier than the row was written. Its window stays, since a worker alone raises it. With a fresh token, the
    answer to a query that is under way tightens nothing.
    """
    longest = _with_window_of(slot, rules)
    held = _closed_for(_longest_wait(slot, longest), now, token, longest)
    return replace(held, window_seconds=slot.window_seconds)


def tighten(slot: Slot, now: Reading, rules: Rules) -> Slot:
    """The slot after a whole answer: a window from now, by clocks read after it. The platform saw the query before.

    It is the row's window where that is longer: somebody may have raised it since this query was granted.
    """
    longest = _with_window_of(slot, rules)
    return _closed_for(longest.spacing_seconds, now, slot.token, longest)


def is_too_late_to_send(*, started: float, boot: float, deadline_seconds: float) -> bool:
    """Whether less than a third of the deadline is left. `started` and `boot` are boot-clock seconds."""
    return started + deadline_seconds - boot < deadline_seconds / 3


def boot_clock_decides(slot: Slot, now: Reading) -> bool:
    """Whether the row was written on the boot of this reading; elsewhere the database's clock decides."""
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
    """Whether a row was written in another database than the present one: its slot is to be closed."""
    return present.differs_from(written_in.identity)


def is_noted(written_in: Provenance, present: DatabaseIdentity) -> bool:
    """Whether the row says all that is known of the present database, so that nothing is to be written."""
    known = written_in.identity
    return known == present or (not present.differs_from(known) and present.with_facts_of(known) == known)


def noted(written_in: Provenance, present: DatabaseIdentity, now: datetime) -> Provenance:
    """What the row is to say from now on. A row that says nothing takes the present identity, and no change."""
    if is_another(written_in, present):
        return Provenance(identity=present, changes=(*written_in.changes, now)[-TOO_MANY:])
    return replace(written_in, identity=present.with_facts_of(written_in.identity))


def changed_at(changes: DatabaseChanges) -> datetime | None:
    """When a worker last noted that the database is another one, in the last hour; None where none has."""
    latest = max(changes.changes, default=None)
    return latest if latest is not None and latest >= changes.now - REPORTED_WITHIN else None


def changes_too_often(changes: DatabaseChanges) -> bool:
    """Whether it was noted three times in the last hour."""
    since = changes.now - REPORTED_WITHIN
    return sum(at >= since for at in changes.changes) >= TOO_MANY


def database_findings(changes: DatabaseChanges | None) -> Iterator[Finding]:
    """What is to be reported of the database's identity; nothing where it is the same for long, or not known."""
    if changes is None:
        return
    if changes.is_another:
        yield Finding(kind=FindingKind.ANOTHER_DATABASE)
    elif (latest := changed_at(changes)) is not None:
        kind = FindingKind.DATABASE_CHANGES if changes_too_often(changes) else FindingKind.DATABASE_CHANGED
        yield Finding(kind=kind, values={"lasts": changes.now - latest})
