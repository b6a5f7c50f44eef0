"""Accounts and their slots, as rows store them: back-offs, pauses, turns, habits of the platform, and due times.

A slot's row also names the database that it was written in. So a worker notices if the database was restored from a
dump, copied or replaced. Durations in windows are multiples of `window_seconds`.
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
    """The order's price, which the platform repeats. An amount other than the expected one is a charge all the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The settings that decisions depend on. Durations are in seconds and may have fractions."""

    window_seconds: float = 60.0
    """The length of a window. In any window, the platform may see at most `slots` queries of one account SID."""
    margin_seconds: float = 0.5
    """Seconds added to the window, because clocks and network delays vary."""
    deadline_seconds: float = 30.0
    """The longest time that one query may take, from just before its grant until its complete answer."""
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
        """How long a slot stays closed after a grant: until the query's deadline, then for one window and the margin.

        After its deadline, the query can no longer reach the platform.
        """
        return self.deadline_seconds + self.window_seconds + self.margin_seconds

    @property
    def spacing_seconds(self) -> float:
        """How long a slot stays closed after a complete answer."""
        return self.window_seconds + self.margin_seconds

    def drain_seconds(self, queries: int) -> float:
        """How long it takes to send this many queries of one SID within its limit, until one more may be sent."""
        return math.ceil(queries / self.slots) * self.spacing_seconds

    def windows(self, count: float) -> timedelta:
        """The duration of `count` windows."""
        return timedelta(seconds=count * self.window_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The host's boot clock and the database's clock, read at one moment while the slot's row was locked."""

    boot_id: str
    boot: float
    """Seconds on CLOCK_BOOTTIME, which continues while the host is suspended."""
    database: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """When a slot may carry its next query, as its row says."""

    due_at: datetime
    """When the slot opens, on the database's clock."""
    boot_id: str
    """The boot id of the host that wrote the row."""
    boot_due: float
    """When the slot opens, in seconds on the clock of the boot `boot_id`."""
    wait_seconds: float
    """The wait from the write of the row until `due_at`, which is also the wait until `boot_due`."""
    token: str
    """The token of the slot's last grant. Only the query with this token may shorten the slot's wait."""
    window_seconds: float
    """The window that `due_at` and `boot_due` were computed from; 0 if a release that stored none wrote the row."""


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
    """The token of the slot's last query; empty before the first query."""

    @property
    def name(self) -> str:
        """The name of this opening. After each query of the slot, the next opening has another name."""
        return f"{self.slot.account_sid}/{self.slot.number}/{self.last_token}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LongerWindow:
    """A slot that this worker does not use, because the window in the slot's row is longer than the worker's own.

    Windows are in seconds.
    """

    slot: SlotKey
    its_window: float
    our_window: float


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """Facts that identify a database, such as the internal number of a table. A restore or a failover changes them.

    Some facts may be unknown.
    """

    text: str = ""
    """The facts as a row stores them: `name=value`, joined by blanks; empty if none is known."""

    @staticmethod
    def of(parts: Mapping[str, object]) -> "DatabaseIdentity":
        """Return the identity with these facts: a map from names to values. No value may contain a blank."""
        return DatabaseIdentity(" ".join(f"{name}={value}" for name, value in sorted(parts.items())))

    @property
    def parts(self) -> dict[str, str]:
        """The facts, by name."""
        return {name: value for name, _, value in (part.partition("=") for part in self.text.split())}

    def differs_from(self, other: "DatabaseIdentity") -> bool:
        """Whether a fact that both identities contain has different values.

        An identity lacks the facts that its database role may not read.
        """
        if self.text == other.text:
            return False
        known = other.parts
        return any(known.get(name, value) != value for name, value in self.parts.items())

    def with_facts_of(self, older: "DatabaseIdentity") -> "DatabaseIdentity":
        """This identity, with its unknown facts taken from `older`. No fact may have different values in the two."""
        return self if self.text == older.text else DatabaseIdentity.of(older.parts | self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """The database in which a slot's row was written, and when the row was later found in another database."""

    identity: DatabaseIdentity = DatabaseIdentity()
    """The database in which the row was written; without any fact if a release before 0019 wrote the row."""
    changes: tuple[datetime, ...] = ()
    """The last three times at which the row was found in another database than the one that it was written in.

    They are on the database's clock, the latest last.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseChanges:
    """What the rows of the slots in use show about changes of their database. Times are on the database's clock."""

    now: datetime
    is_another: bool = False
    """Whether a row was written in another database than the present one, and no worker has recorded this yet."""
    changes: tuple[datetime, ...] = ()
    """The `Provenance.changes` of one row: the row whose last change is the latest."""


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
"""How many windows apart batches are tried on a platform that answers only one order per query."""
ECHO_RETRY_WINDOWS = 60
"""How many windows after the end of echoes a batch by customParm is tried again.

It is tried only if echoes have ended at least `ENDINGS_BEFORE_RETRIES` times.
"""
ENDINGS_BEFORE_RETRIES = 2
"""Once echoes of customParm have ended this often, an echo in a query of one order does not restore batches by
customParm. Only an echo in the answer to a batch does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """One row of `account_pauses`: when an account's orders are not polled, who paused the account, and why."""

    paused_at: datetime
    """When the pause begins."""
    paused_until: datetime | None = None
    """When the pause ends by itself; None if it lasts until an operator ends it."""
    paused_by: str | None = None
    pause_reason: str | None = None
    act_key: str = ""
    """The key of the act in `operator_acts`. All accounts that one act paused have the same pause."""
    is_planned: bool = False
    """Whether the operator gave the pause a begin.

    A pause without a given begin is on at once, even if a clock was set back and `paused_at` is in the future.
    """

    @property
    def ends_at(self) -> datetime:
        """When the pause ends by itself; the latest possible time if it lasts until an operator ends it."""
        return self.paused_until or _NEVER

    def has_begun(self, now: datetime) -> bool:
        """Whether the pause has begun. It may also have ended since."""
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
    """The time until which the platform asked us to wait: by Retry-After, or by saying that queries come too often."""
    refusals_in_row: int = 0
    configuration_refused: bool = False
    """Whether the platform answered -205. Until a query succeeds, only one order is queried every 15 windows."""

    echoes_custom_parm: bool = False
    """Whether answers to queries by customParm name their orders by customParm. Only then are such batches safe."""
    echo_endings: int = 0
    """How often `echoes_custom_parm` became false since a batch last showed echoes."""
    empty_echo_batches: int = 0
    """The number of batches by customParm in a row whose answers had no items."""
    echo_retry_at: datetime | None = None
    """When a batch by customParm may be tried again after the end of echoes; None if it may be tried at once.

    It is tried only if `echo_endings` is at least 2.
    """
    answered_with_items: int = 0
    """The number of queries answered with at least one item."""
    answered_with_belief: int = 0
    """The number of queries answered with at least one item that was believed."""
    answered_by_request_id: int = 0
    """The number of answered queries by requestId."""
    answered_by_custom_parm: int = 0
    """The number of answered queries by customParm."""

    turn: int = 0
    """The number of slots granted to the account."""
    batches: int = 0
    """The number of batches granted to the account."""
    batches_without_request_id: int = 0
    """The number of batches granted since the last one by requestId."""
    batches_without_custom_parm: int = 0
    """The number of batches granted since the last one by customParm."""

    one_item_streak: int = 0
    """The number of batches in a row, each of five or more ids, that were answered with exactly one item."""
    one_item_since: int | None = None
    """The id of the first query that `one_item_streak` counts."""
    one_item_mode: bool = False
    batch_retry_at: datetime | None = None
    """When a batch is tried again, while the account is in one-item mode."""

    suspect_turns: int = 0
    """The number of slots granted to suspects."""
    failures_in_row: int = 0
    """The number of query failures in a row. Only kinds of failure that make the polled orders suspects count."""
    failing_since: int | None = None
    """The id of the first query that `failures_in_row` counts."""
    outage_from: int | None = None
    """The id of the first failed query of an outage (ten or more failures in a row); None if there is none."""
    outage_until: int | None = None
    """The id of the last failed query of an outage; None if there is none."""
    answers_in_row: int = 0
    """During an outage, the number of answered queries in a row since the outage's last failed query."""
    suspects_returned_at: datetime | None = None
    """When the suspects of an outage were last returned to the batches."""
    pauses: tuple[Pause, ...] = ()
    """The account's pauses: those that are on or planned, and those that have ended but are still kept."""

    def answered(self, kind: IdKind) -> int:
        """The number of answered queries of one id kind."""
        return self.answered_by_request_id if kind is IdKind.REQUEST_ID else self.answered_by_custom_parm

    @property
    def answered_by_either(self) -> int:
        """The number of answered queries, whatever their id kind."""
        return self.answered_by_request_id + self.answered_by_custom_parm

    def may_batch_custom_parm(self, now: datetime, rules: Rules) -> bool:
        """Whether orders may be batched by customParm: the platform echoes it, or another try is due."""
        if self.echoes_custom_parm:
            return True
        retry_at = self.echo_retry_at
        # If `retry_at` is further ahead than the whole wait is long, a clock was set back. Then do not wait.
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
