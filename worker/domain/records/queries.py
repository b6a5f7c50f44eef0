"""One query to the platform, from its grant on; and the due orders that it can poll, which were chosen, and why."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from worker.domain.records.coded_texts import CodedText
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import IdKind, Lane, Order, Source

OUTCOMES = (
    *("in_flight", "answered", "refused", "malformed", "http_error", "timeout", "unreachable", "unsent", "lost"),
)
"""How a query may have ended, as `platform_queries.outcome` keeps it; `in_flight` before its end."""
IndexRange = tuple[Lane, IdKind, int]
"""A range of the index of due orders: lane, id kind and age bucket."""

Page = tuple[IndexRange, int]
"""A range, and how many of its orders to read."""


class Work(StrEnum):
    """The kinds of query that compete for an account's slots."""

    BATCH = "batch"
    SUSPECTS = "suspects"
    SINGLE = "single"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a query asks, as far as the reading of its answer depends on it."""

    app_id: str
    id_kind: IdKind
    orders: tuple[Order, ...]
    """As they were before the lease."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the query carries."""
        return tuple(order.polled_id for order in self.orders)

    @property
    def is_alone(self) -> bool:
        """Whether it polls one order only."""
        return len(self.orders) == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Query(Asked):
    """A query that was granted: its slot is reserved, its orders are leased, its row is committed."""

    id: int
    account: str
    account_sid: str
    slot: int
    sid_accounts: tuple[str, ...]
    """All accounts that share the SID, this one included."""
    token: str
    """Its holder may tighten the slot and settle the orders."""
    work: Work
    sent_at: datetime
    """The grant's time by the database's clock."""
    spare_count: int = 0
    """How many of its orders were not due: they take positions that no due order needs."""

    def holds(self, order: Order) -> bool:
        """Whether an order, as it stands now, may still be changed by this query's end."""
        return order.lease_token == self.token and order.state.may_settle

    def as_before(self, order: Order) -> Order:
        """An order that it holds, due as before the grant: for an end that says nothing about the order."""
        due_before = next(polled.due_at for polled in self.orders if polled.id == order.id)
        return replace(order, due_at=due_before, lease_token=None)

    def requested_since(self, order: Order) -> datetime | None:
        """When an order of the query must be polled again, if that was requested after the grant, or before it for a
        later time; else None."""
        requested_at = order.check_requested_at
        if requested_at is None or requested_at > self.sent_at:
            return requested_at
        # Compared with the value at the grant as well: a clock may have been behind at the request.
        granted = next((polled.check_requested_at for polled in self.orders if polled.id == order.id), None)
        return None if requested_at == granted else requested_at

    def record(self, change: Change, after: Order, kind: EventKind, now: datetime, why: CodedText) -> Change:
        """The change with a later state of the order, which this query's end has led to, and why."""
        return change.record(after, kind, source=Source.QUERY, at=now, query_id=self.id, detail=why)


# Compared by identity: it is the key of a cached statement, and to compare a hundred pages takes longer than to run it.
@dataclass(frozen=True, eq=False, slots=True)
class Pages:
    """What one read of candidates reads."""

    first: tuple[Page, ...]
    """Of the orders that became due first."""
    last: tuple[Page, ...] = ()
    """Of those that became due last."""
    checked: int = 0
    """How many of those with a requested check, in any range."""
    not_due: tuple[Page, ...] = ()
    """Of the orders that become due next, and that no query holds."""


class Candidate(NamedTuple):
    """An order that is due, or a spare one that is not, as far as the choice needs to know it.

    A tuple: a choice makes up to some thousands of them, and a frozen dataclass takes twice as long.
    """

    order_id: int
    id_kind: IdKind
    lane: Lane
    submitted_at: datetime
    due_at: datetime
    age_bucket: int = 0
    """The bucket that it was read from; 0 where no answered query polled it yet."""
    queried_at: datetime | None = None
    """When the last answered query that polled it was sent."""
    check_requested_at: datetime | None = None
    suspect_group: int | None = None
    is_unresolved: bool = False
    """Whether only a callback has made it due, once more: else it is pending."""


class Reason(StrEnum):
    """Why an order is in a query."""

    CHECKED = "checked"
    """Somebody requested a check of it."""
    PRIORITY = "priority"
    """It has one of the highest poll priorities."""
    LONGEST_DUE = "longest_due"
    """It has been due for longest."""
    SPARE = "spare"
    """It is not due: no due order needs the position."""
    ALONE = "alone"
    """Its turn to be polled in a query of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """An order that was chosen, and why."""

    order_id: int
    reason: Reason
    priority: float = 0.0
    """Its poll priority: the seconds of delay that a poll saves; 0 where it is polled alone, without a priority."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the next query is to carry."""

    work: Work
    id_kind: IdKind
    picks: tuple[Pick, ...] = ()
    """At most a batch, each order once; empty for a group of suspects, which is polled whole."""
    suspect_group: int | None = None
    is_batch_retry: bool = False
    """Whether a batch is tried although the platform answers one order a query."""
    exhausted: tuple[tuple[IdKind, int], ...] = ()
    """The id kinds and age buckets whose page this choice exhausts: read their next page, then choose again."""

    @property
    def order_ids(self) -> tuple[int, ...]:
        """The orders, in the order of the picks."""
        return tuple(pick.order_id for pick in self.picks)

    @property
    def spare_ids(self) -> frozenset[int]:
        """Those of them that are not due."""
        return frozenset(pick.order_id for pick in self.picks if pick.reason is Reason.SPARE)
