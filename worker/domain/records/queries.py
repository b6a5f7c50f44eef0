"""Queries to the platform after their grant, the orders that a query could poll, and the choice among these orders."""

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
"""A range of the index of due orders, and how many orders of the range to read."""


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
    """The polled orders, as they were before the query leased them."""

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
    """All accounts that share the SID, including the query's own account."""
    token: str
    """The token of the grant. The query may change its slot and its orders only while their rows have this token."""
    work: Work
    sent_at: datetime
    """The time of the grant, on the database's clock."""
    spare_count: int = 0
    """How many of the polled orders are spare: they are not due, and take positions that no due order needs."""

    def holds(self, order: Order) -> bool:
        """Whether the end of this query may still change the order. `order` is the order as it is now."""
        return order.lease_token == self.token and order.state.may_settle

    def as_before(self, order: Order) -> Order:
        """Return an order of this query without its lease, and with the due time that it had before the grant.

        This is for a query whose end says nothing about the order.
        """
        due_before = next(polled.due_at for polled in self.orders if polled.id == order.id)
        return replace(order, due_at=due_before, lease_token=None)

    def requested_since(self, order: Order) -> datetime | None:
        """When the order must be polled again, because a check was requested after the grant; None if it need not be.

        A check that was requested before the grant also counts if its time is after the grant.
        """
        requested_at = order.check_requested_at
        if requested_at is None or requested_at > self.sent_at:
            return requested_at
        # If the clock was slow, a check that was requested after the grant has an earlier time. So also compare the
        # time with the order's `check_requested_at` at the grant.
        granted = next((polled.check_requested_at for polled in self.orders if polled.id == order.id), None)
        return None if requested_at == granted else requested_at

    def record(self, change: Change, after: Order, kind: EventKind, now: datetime, why: CodedText) -> Change:
        """Return the change with `after` as the order, and with an event that names this query and the reason."""
        return change.record(after, kind, source=Source.QUERY, at=now, query_id=self.id, detail=why)


# Instances are compared by identity (`eq=False`), because they are the keys of a cache of statements. Comparing a
# hundred pages by value would take longer than running the statement.
@dataclass(frozen=True, eq=False, slots=True)
class Pages:
    """The pages that one read of candidates reads."""

    first: tuple[Page, ...]
    """Pages of the orders that became due first."""
    last: tuple[Page, ...] = ()
    """Pages of the orders that became due last."""
    checked: int = 0
    """How many orders with a requested check to read, whatever range they are in."""
    not_due: tuple[Page, ...] = ()
    """Pages of the orders that become due next and that no query holds."""


class Candidate(NamedTuple):
    """An order that may be chosen, with the columns that the choice needs. It need not be due: see `Reason.SPARE`.

    The class is a tuple, because one choice creates up to some thousands of candidates, and creating a frozen dataclass
    takes twice as long.
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
    """Whether the order is unresolved, and due once more because of a callback. All other candidates are pending."""


class Reason(StrEnum):
    """Why a query includes an order."""

    CHECKED = "checked"
    """A check of the order was requested."""
    PRIORITY = "priority"
    """The order has one of the highest poll priorities."""
    LONGEST_DUE = "longest_due"
    """The order has been due for longest."""
    SPARE = "spare"
    """The order is not due, but takes a position in the batch that no due order needs."""
    ALONE = "alone"
    """It is the order's turn to be polled in a query of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A chosen order, and the reason why it was chosen."""

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
    """The chosen orders, at most as many as a batch holds; empty for a suspect group, which is polled as a whole."""
    suspect_group: int | None = None
    is_batch_retry: bool = False
    """Whether a batch is tried although the platform answers only one order per query."""
    exhausted: tuple[tuple[IdKind, int], ...] = ()
    """The id kinds and age buckets whose page this choice used up. If any, read their next pages and choose again."""

    @property
    def order_ids(self) -> tuple[int, ...]:
        """The ids of the chosen orders, in the order of the picks."""
        return tuple(pick.order_id for pick in self.picks)

    @property
    def spare_ids(self) -> frozenset[int]:
        """The ids of the chosen orders that are not due."""
        return frozenset(pick.order_id for pick in self.picks if pick.reason is Reason.SPARE)
