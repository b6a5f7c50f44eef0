"""One query to the platform, from its grant on."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.records.order_changes import EventKind, OrderEvent
from worker.domain.records.orders import Order, Source
from worker.domain.records.parameters import Rules
from worker.domain.records.reports import IdKind

OUTCOMES = (
    *("in_flight", "answered", "refused", "malformed", "http_error", "timeout", "unreachable", "unsent", "lost"),
)
"""How a query may have ended, as `platform_queries.outcome` keeps it; `in_flight` before its end."""


class Work(StrEnum):
    """The kinds of query that compete for an account's slots."""

    BATCH = "batch"
    SUSPECTS = "suspects"
    SINGLE = "single"


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A query that was granted: its slot is reserved, its orders are leased, its row is committed."""

    id: int
    account: str
    app_id: str
    account_sid: str
    slot: int
    sid_accounts: tuple[str, ...]
    """All accounts that share the SID, this one included."""
    token: str
    """Whoever holds it may tighten the slot and settle the orders."""
    id_kind: IdKind
    work: Work
    sent_at: datetime
    """The grant's time by the database's clock."""
    orders: tuple[Order, ...]
    """As they were before the lease."""
    spare_count: int = 0
    """How many of them were not due: they take positions that no due order needs."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the query carries."""
        return tuple(order.polled_id for order in self.orders)

    @property
    def is_alone(self) -> bool:
        """Whether it polls one order only."""
        return len(self.orders) == 1

    def holds(self, order: Order) -> bool:
        """Whether an order, as it stands now, may still be changed by this query's end."""
        return order.lease_token == self.token and order.state.may_settle

    def as_before(self, order: Order) -> Order:
        """An order that it holds, due as before the grant: for an end that says nothing about the order."""
        due_before = next(polled.due_at for polled in self.orders if polled.id == order.id)
        return replace(order, due_at=due_before, lease_token=None)

    def is_past_age_limit(self, order: Order, rules: Rules) -> bool:
        """Whether it was sent when the order was past the age limit."""
        return self.sent_at - order.age_limit_from >= timedelta(seconds=rules.unresolved_after_seconds)

    def event(self, before: Order, after: Order, kind: EventKind, now: datetime, detail: str) -> OrderEvent:
        """The event for what this query's end changed of an order; `detail` says why."""
        return OrderEvent(
            order_id=before.id,
            at=now,
            kind=kind,
            source=Source.QUERY,
            query_id=self.id,
            from_state=before.state,
            to_state=after.state,
            detail=detail,
        )
