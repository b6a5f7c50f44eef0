"""The due orders that a query can be about, what was chosen of them and why, and what is read to choose."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from worker.domain.records.orders import Lane
from worker.domain.records.queries import Work
from worker.domain.records.reports import IdKind

IndexRange = tuple[Lane, IdKind, int]
"""How an order is polled: its lane, its id kind and its age bucket."""

Page = tuple[IndexRange, int]
"""A range, and how many of its orders to read."""


# By identity: an account's statement is found by it, and to compare a hundred pages takes longer than to run that.
@dataclass(frozen=True, eq=False, slots=True)
class Pages:
    """What one read of candidates reads."""

    first: tuple[Page, ...]
    """Of the orders that became due first."""
    last: tuple[Page, ...] = ()
    """Of those that became due last."""
    checked: int = 0
    """How many of those that somebody wants checked, wherever they stand."""


class Candidate(NamedTuple):
    """A pending order that is due, as far as the choice needs to know it.

    A tuple: a choice makes up to some thousands of them, and a frozen dataclass takes twice as long.
    """

    order_id: int
    id_kind: IdKind
    lane: Lane
    submitted_at: datetime
    due_at: datetime
    age_bucket: int = 0
    """The group that it was read from; 0 where no answered query polled it yet."""
    queried_at: datetime | None = None
    """When the last answered query that polled it was sent."""
    check_requested_at: datetime | None = None
    suspect_group: int | None = None


class Reason(StrEnum):
    """Why an order is in a query."""

    CHECKED = "checked"
    """Somebody asked to have it polled."""
    PRIORITY = "priority"
    """No other due order was worth more."""
    LONGEST_DUE = "longest_due"
    """It has been due for longest."""
    ALONE = "alone"
    """Its turn to be asked in a query of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """An order that was chosen, and why."""

    order_id: int
    reason: Reason
    priority: float = 0.0
    """How many seconds of delay a look at it is worth; 0 where it is polled alone, which asks for no price."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the next query is to carry."""

    work: Work
    id_kind: IdKind
    picks: tuple[Pick, ...] = ()
    """At most a batch, each order once; empty for a group of suspects, which is asked as it stands."""
    suspect_group: int | None = None
    is_batch_retry: bool = False
    """Whether a batch is tried although the platform answers one order a query."""
    exhausted: tuple[tuple[IdKind, int], ...] = ()
    """The id kinds and age buckets of which more must be read, if only a page was, before this choice is made."""

    @property
    def order_ids(self) -> tuple[int, ...]:
        """The orders, the most worth first."""
        return tuple(pick.order_id for pick in self.picks)
