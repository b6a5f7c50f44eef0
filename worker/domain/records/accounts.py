"""The state of an account and of its slots: back-off, pauses, turns, the platform's habits, and the budget's rows.

A slot's row also names the database that it was written in. So a worker notices if that database is now another one: it
was restored from a dump, copied or replaced. Durations that are given in windows scale with the window.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from worker.domain.records.orders import IdKind

_NEVER = datetime.max.replace(tzinfo=UTC)


class FailedAmount(StrEnum):
    """The meaning of the amount that a platform gives for a failed order."""

    CHARGED = "charged"
    """The amount charged, although the order failed."""
    ECHOED = "echoed"
    """The order's price, which the platform repeats, if it equals the expected amount or no amount is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The settings that decisions depend on. Durations are in seconds and may have fractions."""

    window_seconds: float = 60.0
    """The span of the limit: in any window, the platform may see at most `slots` queries of one account SID."""
    margin_seconds: float = 0.5
    """Seconds added to the window, because clocks and network delays vary."""
    deadline_seconds: float = 30.0
    """The time for one whole exchange, counted from before the grant."""
    slots: int = 1
    """The number of queries per window and account SID. Each slot has its own row."""
    batch_size: int = 100
    grace_seconds: float = 600.0
    """How long an order waits for its callback before the first query."""
    unresolved_after_seconds: float = 259_200.0
    """The age limit: the order age at which polling stops."""
    echoing_accounts: frozenset[str] = frozenset()
    """The accounts whose platform repeats the price of a failed order (`FailedAmount.ECHOED`)."""

    @property
    def reservation_seconds(self) -> float:
        """How long a slot stays closed after its grant. After the deadline, no query of ours can reach the platform."""
        return self.deadline_seconds + self.window_seconds + self.margin_seconds

    @property
    def spacing_seconds(self) -> float:
        """How long a slot stays closed after a complete answer."""
        return self.window_seconds + self.margin_seconds

    def drain_seconds(self, queries: int) -> float:
        """How long this many queries of one SID take at its limit, with the wait until the next one may follow."""
        return math.ceil(queries / self.slots) * self.spacing_seconds

    def windows(self, count: float) -> timedelta:
        """The duration of `count` windows."""
        return timedelta(seconds=count * self.window_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Both clocks, read at one moment while the slot's row was locked."""

    boot_id: str
    boot: float
    """Seconds on CLOCK_BOOTTIME, which also counts time in suspend."""
    database: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """When a slot may carry its next query, as its row says."""

    due_at: datetime
    """When the slot opens, on the database's clock."""
    boot_id: str
    """The boot of the host that wrote the row."""
    boot_due: float
    """When the slot opens, in seconds on that boot's clock."""
    wait_seconds: float
    """The length of the wait, which ends at both due times."""
    token: str
    """New with every grant. Only its holder may tighten the slot."""
    window_seconds: float
    """The window that both due times were computed with; 0 if an older release, which stored none, wrote the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotKey:
    """A slot of an account SID, and the accounts that share the slot."""

    account_sid: str
    number: int
    app_ids: Mapping[str, str]
    """The app id of each account, sorted by account name."""

    @property
    def key(self) -> tuple[str, int]:
        """The unique key of the slot's row."""
        return self.account_sid, self.number


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """A slot that may carry a query soon."""

    slot: SlotKey
    in_seconds: float
    """Seconds until the slot may carry a query; 0 if it may now."""
    last_token: str
    """The token of the slot's last query; empty before the first."""

    @property
    def name(self) -> str:
        """The name of this opening. After each query of the slot, the next opening has another name."""
        return f"{self.slot.account_sid}/{self.slot.number}/{self.last_token}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LongerWindow:
    """A slot that this worker does not use: its row has a longer window than ours. Both windows are in seconds."""

    slot: SlotKey
    its_window: float
    our_window: float


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """Facts that a restore or a failover changes, such as the number of a table. Some may be unknown."""

    text: str = ""
    """The facts as a row stores them: `name=value`, joined by blanks; empty if none is known."""

    @staticmethod
    def of(parts: Mapping[str, object]) -> "DatabaseIdentity":
        """The identity that consists of these facts, by name. No value may contain a blank."""
        return DatabaseIdentity(" ".join(f"{name}={value}" for name, value in sorted(parts.items())))

    @property
    def parts(self) -> dict[str, str]:
        """The facts, by name."""
        return {name: value for name, _, value in (part.partition("=") for part in self.text.split())}

    def differs_from(self, other: "DatabaseIdentity") -> bool:
        """Whether any fact that both know differs. Some may be unknown: not every database role may read all."""
        if self.text == other.text:
            return False
        known = other.parts
        return any(known.get(name, value) != value for name, value in self.parts.items())

    def with_facts_of(self, older: "DatabaseIdentity") -> "DatabaseIdentity":
        """This identity, with its unknown facts taken from an older one, from which it must not differ."""
        return self if self.text == older.text else DatabaseIdentity.of(older.parts | self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """The database in which a slot's row was written, and how often that has changed."""

    identity: DatabaseIdentity = DatabaseIdentity()
    """Unknown if a release before 0019 wrote the row."""
    changes: tuple[datetime, ...] = ()
    """When the row was found in another database: the last three times on its clock, the latest last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseChanges:
    """What the slots in use show about their database at `now`, on its clock."""

    now: datetime
    is_another: bool = False
    """Whether a row was written in another database, and no worker has recorded that yet."""
    changes: tuple[datetime, ...] = ()
    """When the database was found to be another one, from the row with the latest such time: see `Provenance`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotRow:
    """A slot, and the other columns of its row."""

    id: int
    account_sid: str
    number: int
    slot: Slot
    in_flight_query_id: int | None
    last_account: str | None
    provenance: Provenance


BATCH_RETRY_WINDOWS = 60
"""Windows between tries of a batch on a platform that answers only one order a query."""
ECHO_RETRY_WINDOWS = 60
"""Windows until a batch by customParm is tried again, once a lone echo no longer restores such batches."""
ENDINGS_BEFORE_RETRIES = 2
"""Once batches by customParm have ended this often, a lone echo does not restore them; only an echoing batch does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """One row of `account_pauses`: a time during which an account's orders are not polled, who set it, and why."""

    paused_at: datetime
    """When the pause begins."""
    paused_until: datetime | None = None
    """When the pause ends by itself; None if an operator ends it."""
    paused_by: str | None = None
    pause_reason: str | None = None
    act_key: str = ""
    """The key of the act in `operator_acts`. All accounts that one act paused have the same pause."""
    is_planned: bool = False
    """Whether it was given a begin. Any other pause has begun, even if a clock that was set back says otherwise."""

    @property
    def ends_at(self) -> datetime:
        """When the pause ends by itself; the latest possible time if an operator ends it."""
        return self.paused_until or _NEVER

    def has_begun(self, now: datetime) -> bool:
        """Whether the pause is on, or has been."""
        return not self.is_planned or self.paused_at <= now


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountState:
    """One row of `account_states`, with the account's pauses. Times are on the database's clock."""

    account: str
    backoff_level: int = 0
    """The number of query failures in a row that led to a back-off, up to 10."""
    backoff_until: datetime | None = None
    backoff_seconds: float = 0.0
    """The length of the present back-off."""
    backoff_unreachable: bool = False
    """Whether a query that found no connection caused the present back-off."""
    backoff_requested_until: datetime | None = None
    """Until when the platform itself asked to wait: by Retry-After, or by the message that queries come too often."""
    refusals_in_row: int = 0
    configuration_refused: bool = False
    """Whether the platform answered -205: until a success, one order is queried every 15 windows."""

    echoes_custom_parm: bool = False
    """Whether answers to queries by customParm name their orders by customParm. If so, such batches are safe."""
    echo_endings: int = 0
    """How often `echoes_custom_parm` became false since a batch last showed echoes."""
    empty_echo_batches: int = 0
    """The number of batches by customParm in a row that were answered without items."""
    echo_retry_at: datetime | None = None
    """When a batch by customParm is tried again, from the second ending on; None for at once."""
    answered_with_items: int = 0
    """The number of queries answered with at least one item."""
    answered_with_belief: int = 0
    """The number of queries answered with at least one item that was believed."""
    answered_by_request_id: int = 0
    """The number of answered queries by requestId."""
    answered_by_custom_parm: int = 0
    """The number of answered queries by customParm."""

    turn: int = 0
    """The number of slots granted."""
    batches: int = 0
    """The number of batches granted."""
    batches_without_request_id: int = 0
    """The number of batches granted since the last one by requestId."""
    batches_without_custom_parm: int = 0
    """The number of batches granted since the last one by customParm."""

    one_item_streak: int = 0
    """The number of batches in a row, each of five or more ids, that were answered with exactly one item."""
    one_item_since: int | None = None
    """The id of the first query of this streak."""
    one_item_mode: bool = False
    batch_retry_at: datetime | None = None
    """While the account is in one-item mode: when a batch is tried again."""

    suspect_turns: int = 0
    """The number of slots granted to suspects."""
    failures_in_row: int = 0
    """The number of query failures in a row, of the kinds that make suspects."""
    failing_since: int | None = None
    """The id of the first query of these failures."""
    outage_from: int | None = None
    """The id of the first failed query of an outage (ten or more failures in a row); None if there is none."""
    outage_until: int | None = None
    """The id of the last failed query of the outage."""
    answers_in_row: int = 0
    """The number of answered queries in a row since the last such failure, counted only until the outage has ended."""
    suspects_returned_at: datetime | None = None
    """When the suspects of an outage were last returned to the batches."""
    pauses: tuple[Pause, ...] = ()
    """The account's pauses: those that are on or planned, and those that have ended but are still kept."""

    def answered(self, kind: IdKind) -> int:
        """The number of answered queries of one id kind."""
        return self.answered_by_request_id if kind is IdKind.REQUEST_ID else self.answered_by_custom_parm

    @property
    def answered_by_either(self) -> int:
        """The number of answered queries of both id kinds."""
        return self.answered_by_request_id + self.answered_by_custom_parm

    def may_batch_custom_parm(self, now: datetime, rules: Rules) -> bool:
        """Whether orders may be batched by customParm: the platform echoes it, or another try is due."""
        if self.echoes_custom_parm:
            return True
        retry_at = self.echo_retry_at
        # If the time is further ahead than the wait is long, a clock was set back since.
        is_time = retry_at is None or not now < retry_at <= now + rules.windows(ECHO_RETRY_WINDOWS)
        return self.echo_endings >= ENDINGS_BEFORE_RETRIES and is_time

    def pause(self, now: datetime) -> Pause | None:
        """The pause that is on; the one that ends last if there are several; None if there is none."""
        return next(iter(self.pauses_on(now)), None)

    def pauses_on(self, now: datetime) -> list[Pause]:
        """The pauses that are on, sorted by their end, the latest end first."""
        on = (one for one in self.lasting_pauses(now) if one.has_begun(now))
        return sorted(on, key=lambda one: one.ends_at, reverse=True)

    def lasting_pauses(self, now: datetime) -> tuple[Pause, ...]:
        """The pauses that have not ended, including planned ones."""
        return tuple(one for one in self.pauses if one.ends_at > now)

    def planned_pauses(self, now: datetime) -> list[Pause]:
        """The pauses that have not begun yet, the next one first."""
        return sorted((one for one in self.pauses if not one.has_begun(now)), key=lambda one: one.paused_at)

    def is_paused(self, now: datetime) -> bool:
        """Whether a pause is on."""
        return self.pause(now) is not None

    def is_backed_off(self, now: datetime) -> bool:
        """Whether the account backs off."""
        return self.backoff_until is not None and self.backoff_until > now
