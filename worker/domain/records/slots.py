"""A slot of an account SID: what its row says, the clocks that decide about it, and what reading it finds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


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
    window_seconds: float
    """The window that both due times were written with; 0 where a release that kept none wrote the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotKey:
    """A slot of an account SID, with the accounts that share it."""

    account_sid: str
    number: int
    app_ids: Mapping[str, str]
    """Account name to app id, in the order of the names."""

    @property
    def key(self) -> tuple[str, int]:
        """The unique key of its row."""
        return self.account_sid, self.number


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """A slot that may carry a query soon."""

    slot: SlotKey
    in_seconds: float
    """0 where it may carry one now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LongerWindow:
    """A slot that this worker does not use: its row has a longer window than ours. Both in seconds."""

    slot: SlotKey
    its_window: float
    our_window: float
