"""A slot of an account SID: what its row says, the clocks that decide about it, and what reading it finds.

Its row also tells a database from its own past: from one that it was dumped or copied from, and from a lost one.
"""

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


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """Facts that a restore or a failover changes, such as the number of a table; some may be unknown."""

    text: str = ""
    """As a row keeps it: `name=value`, joined by blanks; empty where nothing is known."""

    @staticmethod
    def of(parts: Mapping[str, object]) -> "DatabaseIdentity":
        """The identity of these facts, by name; no value holds a blank."""
        return DatabaseIdentity(" ".join(f"{name}={value}" for name, value in sorted(parts.items())))

    @property
    def parts(self) -> dict[str, str]:
        """Its facts, by name."""
        return {name: value for name, _, value in (part.partition("=") for part in self.text.split())}

    def differs_from(self, other: "DatabaseIdentity") -> bool:
        """Whether a fact that both know is another one: a role may not read all of them."""
        if self.text == other.text:
            return False
        known = other.parts
        return any(known.get(name, value) != value for name, value in self.parts.items())

    def with_facts_of(self, older: "DatabaseIdentity") -> "DatabaseIdentity":
        """The same with what it does not know itself, of an identity from which it does not differ."""
        return self if self.text == older.text else DatabaseIdentity.of(older.parts | self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """In which database a slot's row was written."""

    identity: DatabaseIdentity = DatabaseIdentity()
    """Unknown where a release before 0019 wrote the row."""
    changes: tuple[datetime, ...] = ()
    """When it was found in another one, by the database's clock: the last three times, the latest last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseChanges:
    """What the slots in use say of their database at `now`, by its clock."""

    now: datetime
    is_another: bool = False
    """It is not the one that a row was written in, and no worker has noted that yet."""
    changes: tuple[datetime, ...] = ()
    """Of the row with the latest change: see `Provenance`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotRow:
    """A slot with the other columns of its row."""

    id: int
    account_sid: str
    number: int
    slot: Slot
    in_flight_query_id: int | None
    last_account: str | None
    provenance: Provenance
