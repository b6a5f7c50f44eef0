"""Queries to the platform from their grant on, the candidates that a query can poll, and the choice among them."""

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
"""The values of `platform_queries.outcome`: how a query ended, or `in_flight` until it has ended."""
IndexRange = tuple[Lane, IdKind, int]
"""A range of the index of due orders, given by lane, id kind and age bucket."""

Page = tuple[IndexRange, int]
"""An index range, and how many of its orders to read."""


class Work(StrEnum):
    """The kinds of query that compete for an account's slots."""

    BATCH = "batch"
    SUSPECTS = "suspects"
    SINGLE = "single"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The part of a query that is needed to read its answer."""

    app_id: str
    id_kind: IdKind
    orders: tuple[Order, ...]
    """The polled orders, as they were before the lease."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the query carries."""
        return tuple(order.polled_id for order in self.orders)

    @property
    def is_alone(self) -> bool:
        """Whether the query polls only one order."""
        return len(self.orders) == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Query(Asked):
    """A granted query: its slot is reserved, its orders are leased, and its row is committed."""

    id: int
    account: str
    account_sid: str
    slot: int
    sid_accounts: tuple[str, ...]
    """All accounts that share the SID, including this one."""
    token: str
    """The token of the grant. Only its holder may tighten the slot and settle the orders."""
    work: Work
    sent_at: datetime
    """The time of the grant, on the database's clock."""
    spare_count: int = 0
    """The number of its spare orders: they are not due and take positions that no due order needs."""

    def holds(self, order: Order) -> bool:
        """Whether the end of this query may still change the order, given in its present state."""
        return order.lease_token == self.token and order.state.may_settle

    def as_before(self, order: Order) -> Order:
        """Return an order that the query holds to its state before the grant: not leased, and due as it was then.

        This is for a query whose end says nothing about the order.
        """
        due_before = next(polled.due_at for polled in self.orders if polled.id == order.id)
        return replace(order, due_at=due_before, lease_token=None)

    def requested_since(self, order: Order) -> datetime | None:
        """When the order must be polled again, because a check was requested after the grant; None if it need not be.

        A check also counts if it was requested before the grant for a later time.
        """
        requested_at = order.check_requested_at
        if requested_at is None or requested_at > self.sent_at:
            return requested_at
        # Also compare with the value at the grant: the clock may have been slow when the check was requested.
        granted = next((polled.check_requested_at for polled in self.orders if polled.id == order.id), None)
        return None if requested_at == granted else requested_at

    def record(self, change: Change, after: Order, kind: EventKind, now: datetime, why: CodedText) -> Change:
        """Return a change with a later state of the order, as a result of this query's end, and with the reason."""
        return change.record(after, kind, source=Source.QUERY, at=now, query_id=self.id, detail=why)


# Instances are compared by identity: they are the keys of cached statements, and comparing a hundred pages would take
# longer than running the statement.
@dataclass(frozen=True, eq=False, slots=True)
class Pages:
    """The pages that one read of candidates reads."""

    first: tuple[Page, ...]
    """Pages of the orders that became due first."""
    last: tuple[Page, ...] = ()
    """Pages of the orders that became due last."""
    checked: int = 0
    """How many orders to read that have a requested check, in any range."""
    not_due: tuple[Page, ...] = ()
    """Pages of the orders that become due next and that no query holds."""


class Candidate(NamedTuple):
    """An order that may be chosen, with the columns that the choice needs. It is due, or a spare one that is not due.

    It is a tuple, because one choice makes up to some thousands of them, and a frozen dataclass takes twice as long.
    """

    order_id: int
    id_kind: IdKind
    lane: Lane
    submitted_at: datetime
    due_at: datetime
    age_bucket: int = 0
    """The age bucket that the order was read from; 0 if no answered query has polled it yet."""
    queried_at: datetime | None = None
    """When the last answered query that polled the order was sent."""
    check_requested_at: datetime | None = None
    suspect_group: int | None = None
    is_unresolved: bool = False
    """Whether the order is unresolved, and due once more because of a callback. Otherwise it is pending."""


class Reason(StrEnum):
    """Why a query includes an order."""

    CHECKED = "checked"
    """A check of the order was requested."""
    PRIORITY = "priority"
    """The order has one of the highest poll priorities."""
    LONGEST_DUE = "longest_due"
    """The order has been due for longest."""
    SPARE = "spare"
    """The order is not due, but no due order needs the position."""
    ALONE = "alone"
    """It is the order's turn to be polled in a query of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A chosen order, and the reason."""

    order_id: int
    reason: Reason
    priority: float = 0.0
    """The order's poll priority: the seconds of delay that a poll saves; 0 for an order that is polled alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The orders that the next query will include, and why."""

    work: Work
    id_kind: IdKind
    picks: tuple[Pick, ...] = ()
    """The chosen orders: at most a batch, each once; empty for a group of suspects, which is polled as a whole."""
    suspect_group: int | None = None
    is_batch_retry: bool = False
    """Whether a batch is tried although the platform answers only one order a query."""
    exhausted: tuple[tuple[IdKind, int], ...] = ()
    """The id kinds and age buckets whose page this choice used up. Read their next page, then choose again."""

    @property
    def order_ids(self) -> tuple[int, ...]:
        """The ids of the chosen orders, in the order of the picks."""
        return tuple(pick.order_id for pick in self.picks)

    @property
    def spare_ids(self) -> frozenset[int]:
        """The ids of the chosen orders that are not due."""
        return frozenset(pick.order_id for pick in self.picks if pick.reason is Reason.SPARE)
