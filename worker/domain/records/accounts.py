"""What is known of an account and of its slots: back-off, turns, what was learned of its platform, the limit's rows.

The row of a slot also tells a database from its own past: from one that it was dumped or copied from, and from a lost
one. Everything that the rules give in windows scales with the window.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from worker.domain.records.orders import IdKind

_NEVER = datetime.max.replace(tzinfo=UTC)


class FailedAmount(StrEnum):
    """What the amount beside a failure means on a platform."""

    CHARGED = "charged"
    """What was charged, although the order failed."""
    ECHOED = "echoed"
    """The order's price, which the platform repeats, where it is the expected amount or none is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The settings that decisions depend on. Durations are seconds; fractions count."""

    window_seconds: float = 60.0
    """In any window the platform may see `slots` queries of one account SID."""
    margin_seconds: float = 0.5
    """Added to the window, for what clocks and networks may disagree about."""
    deadline_seconds: float = 30.0
    """For one whole exchange, counted from before the grant."""
    slots: int = 1
    """Queries per window, per account SID; each has a row of its own."""
    batch_size: int = 100
    grace_seconds: float = 600.0
    """How long an order waits for its callback before the first query."""
    unresolved_after_seconds: float = 259_200.0
    """The age limit: the order age at which polling stops."""
    echoing_accounts: frozenset[str] = frozenset()
    """Those whose platform repeats the price of a failed order (`FailedAmount.ECHOED`)."""

    @property
    def reservation_seconds(self) -> float:
        """How long a slot is closed from its grant: no query of ours can reach the platform after the deadline."""
        return self.deadline_seconds + self.window_seconds + self.margin_seconds

    @property
    def spacing_seconds(self) -> float:
        """How long a slot is closed from a whole answer."""
        return self.window_seconds + self.margin_seconds

    def drain_seconds(self, queries: int) -> float:
        """How long it takes to send so many queries of a SID at its limit, until the next one may follow them."""
        return math.ceil(queries / self.slots) * self.spacing_seconds

    def windows(self, count: float) -> timedelta:
        """The duration of `count` windows."""
        return timedelta(seconds=count * self.window_seconds)


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
    last_token: str
    """Of the slot's last query; empty before its first."""

    @property
    def name(self) -> str:
        """Of this opening: once the slot has carried a query, its next one has another name."""
        return f"{self.slot.account_sid}/{self.slot.number}/{self.last_token}"


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


BATCH_RETRY_WINDOWS = 60
"""How often a platform that answers one order a query is tried with a batch."""
ECHO_RETRY_WINDOWS = 60
"""How often a batch by customParm is tried again once a lone echo no longer restores such batches."""
ENDINGS_BEFORE_RETRIES = 2
"""After so many ends of batches by customParm a lone echo no longer restores them; only an echoing batch does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """One row of `account_pauses`: a time in which an account's orders are not polled, who said so, and why."""

    paused_at: datetime
    """When it begins."""
    paused_until: datetime | None = None
    """When it ends by itself; None: an operator ends it."""
    paused_by: str | None = None
    pause_reason: str | None = None
    act_key: str = ""
    """Names the act, as `operator_acts` does: the accounts that it paused have the same pause."""
    is_planned: bool = False
    """Whether it was given a begin. Any other pause has begun, whatever a clock says that is stepped back."""

    @property
    def ends_at(self) -> datetime:
        """When it ends by itself; the end of time if an operator ends it."""
        return self.paused_until or _NEVER

    def has_begun(self, now: datetime) -> bool:
        """Whether it is on, or has been."""
        return not self.is_planned or self.paused_at <= now


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountState:
    """One row of `account_states`, with the account's pauses. Times are by the database's clock."""

    account: str
    backoff_level: int = 0
    """Query failures in a row that led to a back-off."""
    backoff_until: datetime | None = None
    backoff_seconds: float = 0.0
    """The length of that back-off."""
    backoff_unreachable: bool = False
    """Whether a query without a connection made that back-off."""
    backoff_requested_until: datetime | None = None
    """Until when the platform itself asked to wait, by Retry-After or because it is queried too often."""
    refusals_in_row: int = 0
    configuration_refused: bool = False
    """The platform said -205: one order is queried every 15 windows until a success."""

    echoes_custom_parm: bool = False
    """Answers to queries by customParm name their orders by it: batches by customParm are safe."""
    echo_endings: int = 0
    """How often that ended since a batch last showed echoes."""
    empty_echo_batches: int = 0
    """Batches by customParm in a row that were answered without items."""
    echo_retry_at: datetime | None = None
    """From the second ending on: when a batch by customParm is tried again; None: at once."""
    answered_with_items: int = 0
    """Queries answered with at least one item."""
    answered_with_belief: int = 0
    """Queries answered with at least one item that was believed."""
    answered_by_request_id: int = 0
    """Answered queries of that id kind."""
    answered_by_custom_parm: int = 0

    turn: int = 0
    """Slots granted."""
    batches: int = 0
    """Batches granted."""
    batches_without_request_id: int = 0
    """Batches granted since the last one of that id kind."""
    batches_without_custom_parm: int = 0

    one_item_streak: int = 0
    """Batches in a row, of five or more ids, that were answered with exactly one item."""
    one_item_since: int | None = None
    """The first query of that streak."""
    one_item_mode: bool = False
    batch_retry_at: datetime | None = None
    """In one-item mode: when a batch is tried again."""

    suspect_turns: int = 0
    """Slots granted to suspects."""
    failures_in_row: int = 0
    """Query failures in a row of the kinds that make suspects."""
    failing_since: int | None = None
    """The first query of that run."""
    outage_from: int | None = None
    """The first of ten or more such failures in a row whose suspects may be returned; None where there is none."""
    outage_until: int | None = None
    """The last of them. Both are ids of queries."""
    answers_in_row: int = 0
    """Answered queries in a row since the last such failure, counted while an outage is to be ended."""
    suspects_returned_at: datetime | None = None
    """When an outage's suspects were last returned to the batches."""
    pauses: tuple[Pause, ...] = ()
    """All of its pauses: those that are on, are planned, or have ended and are still kept."""

    def answered(self, kind: IdKind) -> int:
        """How many queries of an id kind were answered."""
        return self.answered_by_request_id if kind is IdKind.REQUEST_ID else self.answered_by_custom_parm

    @property
    def answered_by_either(self) -> int:
        """How many queries of either id kind were answered."""
        return self.answered_by_request_id + self.answered_by_custom_parm

    def may_batch_custom_parm(self, now: datetime, rules: Rules) -> bool:
        """Whether orders are batched by customParm: the platform echoes it, or it is time to try again."""
        if self.echoes_custom_parm:
            return True
        retry_at = self.echo_retry_at
        # A time further ahead than the length of the wait means that a clock was set back since.
        is_time = retry_at is None or not now < retry_at <= now + rules.windows(ECHO_RETRY_WINDOWS)
        return self.echo_endings >= ENDINGS_BEFORE_RETRIES and is_time

    def pause(self, now: datetime) -> Pause | None:
        """The pause that is on; of several, the one that ends last."""
        return next(iter(self.pauses_on(now)), None)

    def pauses_on(self, now: datetime) -> list[Pause]:
        """The pauses that are on; the one that ends last comes first."""
        on = (one for one in self.lasting_pauses(now) if one.has_begun(now))
        return sorted(on, key=lambda one: one.ends_at, reverse=True)

    def lasting_pauses(self, now: datetime) -> tuple[Pause, ...]:
        """The pauses that have not ended."""
        return tuple(one for one in self.pauses if one.ends_at > now)

    def planned_pauses(self, now: datetime) -> list[Pause]:
        """The pauses that have not begun, the next one first."""
        return sorted((one for one in self.pauses if not one.has_begun(now)), key=lambda one: one.paused_at)

    def is_paused(self, now: datetime) -> bool:
        """Whether a pause is on."""
        return self.pause(now) is not None

    def is_backed_off(self, now: datetime) -> bool:
        """Whether the account backs off."""
        return self.backoff_until is not None and self.backoff_until > now
