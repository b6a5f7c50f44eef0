"""What is known of one account: its back-off, its turns, and what was learned of its platform."""

from dataclasses import dataclass
from datetime import datetime

from worker.domain.records.parameters import Rules
from worker.domain.records.reports import IdKind

BATCH_RETRY_WINDOWS = 60
"""How often a platform that answers one order a query is tried with a batch."""
ECHO_RETRY_WINDOWS = 60
"""How often a batch by customParm is tried again once a lone echo no longer restores such batches."""
ENDINGS_BEFORE_RETRIES = 2
"""After so many ends of batches by customParm a lone echo no longer restores them; only an echoing batch does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountState:
    """One row of `account_states`. Times are by the database's clock."""

    account: str
    backoff_level: int = 0
    """Query failures in a row that led to a back-off."""
    backoff_until: datetime | None = None
    backoff_seconds: float = 0.0
    """The length of that back-off."""
    backoff_requested_until: datetime | None = None
    """Until when the platform itself asked to wait, by Retry-After or because it is queried too often."""
    refusals_in_row: int = 0
    configuration_refused: bool = False
    """The platform said -205: one order is queried every 15 windows until a success."""
    paused_at: datetime | None = None
    """When an operator paused it; None while it is not paused."""

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
    paused_until: datetime | None = None
    """When the pause ends by itself; None: an operator ends it."""
    paused_by: str | None = None
    pause_reason: str | None = None

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

    def is_paused(self, now: datetime) -> bool:
        """Whether an operator's pause holds."""
        return self.paused_at is not None and (self.paused_until is None or self.paused_until > now)

    def is_backed_off(self, now: datetime) -> bool:
        """Whether the account backs off."""
        return self.backoff_until is not None and self.backoff_until > now
