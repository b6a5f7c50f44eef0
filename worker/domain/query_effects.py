"""What an answer or a query failure changes."""

from dataclasses import dataclass, field

from worker.domain.records.accounts import AccountState
from worker.domain.records.order_changes import Change
from worker.domain.scheduling.learning import Observations


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryEffects:
    """What an answer or a query failure changes: the account, the orders, the slot, and the observations."""

    state: AccountState
    changes: tuple[Change, ...] = ()
    tightens_slot: bool = False
    """Whether the slot opens a window from now, rather than when the reservation ends."""
    backs_off_whole_sid: bool = False
    """Whether every account of the account SID backs off."""
    reset_absences_since: int | None = None
    """From this query on, orders that one-item answers of the account left out were not absent, and are due at once."""
    return_suspects: tuple[int, int] | None = None
    """The first and the last group of suspects that an outage made, which go back to the batches."""
    absent: int = 0
    """How many polled orders the answer left out."""
    pending: int = 0
    """How many polled orders have an item and are not final afterwards."""
    observations: Observations = field(default_factory=Observations)
    """What the answer teaches about when orders settle."""

    @property
    def settled(self) -> int:
        """How many orders became final."""
        return sum(change.settles for change in self.changes)
