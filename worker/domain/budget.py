"""The budget: when one slot of an account SID may carry the next query.

A slot's row says when, twice: by the database's clock, and by the boot clock of the host that wrote it. On that boot
the boot clock decides alone, so no step of any clock opens or blocks the limit there; everywhere else the database's
clock does.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from worker.domain.rules import Rules

# A row keeps microseconds, rounded up: at the moment at which it was written it may seem to be written a little later.
_ROUNDING_SECONDS = 0.00001


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Both clocks, read at one moment while the slot's row was locked."""

    boot_id: str
    boot: float
    """Seconds on CLOCK_BOOTTIME, which counts suspend."""
    database: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """What a slot's row says."""

    due_at: datetime
    """By the database's clock."""
    boot_id: str
    """The boot that wrote the row."""
    boot_due: float
    """By that boot's clock, in seconds."""
    wait_seconds: float
    """The length of the wait that both due times end."""
    token: str
    """Fresh with every grant: who holds it may tighten the slot."""


class Permission(Enum):
    """Whether a slot may carry a query now."""

    ASK = "ask"
    WAIT = "wait"
    BRING_BACK = "bring back"
    """The wait lies further ahead than its own length: a clock was stepped. Set it to that length from now."""


def may_ask(slot: Slot, now: Reading, rules: Rules) -> Permission:
    """Decide about a slot whose row is locked, by the clocks as read under that lock."""
    ahead = _seconds_ahead(slot, now)
    if ahead <= 0:
        return Permission.ASK
    is_stepped = not _boot_clock_decides(slot, now) and ahead > _longest_wait(slot, rules)
    return Permission.BRING_BACK if is_stepped else Permission.WAIT


def opens_in(slot: Slot, now: Reading, rules: Rules) -> float:
    """Seconds until a slot is to be tried: 0 where it may carry a query now, or its wait is to be brought back.

    Of a row that is not locked it is a hint: when to lock it, and decide.
    """
    return _seconds_ahead(slot, now) if may_ask(slot, now, rules) is Permission.WAIT else 0.0


def bring_back(slot: Slot, now: Reading, rules: Rules) -> Slot:
    """The slot with its wait counted anew from the database's clock as it stands. Boot id, boot time and token stay."""
    wait = _longest_wait(slot, rules)
    return replace(slot, due_at=now.database + timedelta(seconds=wait), wait_seconds=wait)


def reserve(now: Reading, rules: Rules, token: str) -> Slot:
    """The slot as it stands from the grant on: closed until a window after the latest moment at which we may send."""
    return _closed_for(rules.reservation_seconds, now, token)


def tighten(slot: Slot, now: Reading, rules: Rules) -> Slot:
    """The slot after a whole answer: a window from now, by clocks read after it. The platform saw the query before."""
    return _closed_for(rules.spacing_seconds, now, slot.token)


def is_too_late_to_send(*, started: float, boot: float, deadline_seconds: float) -> bool:
    """Whether less than a third of the deadline is left. `started` and `boot` are boot-clock seconds."""
    return started + deadline_seconds - boot < deadline_seconds / 3


def _boot_clock_decides(slot: Slot, now: Reading) -> bool:
    written_at = slot.boot_due - slot.wait_seconds
    return slot.boot_id == now.boot_id and written_at <= now.boot + _ROUNDING_SECONDS


def _seconds_ahead(slot: Slot, now: Reading) -> float:
    if _boot_clock_decides(slot, now):
        return slot.boot_due - now.boot
    return (slot.due_at - now.database).total_seconds()


def _longest_wait(slot: Slot, rules: Rules) -> float:
    return max(slot.wait_seconds, rules.reservation_seconds)


def _closed_for(seconds: float, now: Reading, token: str) -> Slot:
    return Slot(
        due_at=now.database + timedelta(seconds=seconds),
        boot_id=now.boot_id,
        boot_due=now.boot + seconds,
        wait_seconds=seconds,
        token=token,
    )
