"""Changes of orders by decisions, and the events that record them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from worker.domain.records.orders import Order, OrderKey, OrderState, Source


class EventKind(StrEnum):
    """What happened to an order, as `order_events` stores it."""

    SETTLED = "settled"
    REPORTED = "reported"
    """The platform reported status 0, and the status, the remark or the amount is new."""
    NOT_BELIEVED = "not_believed"
    """The platform said something that settles nothing."""
    CONTRADICTED = "contradicted"
    """A later result or amount contradicts a final state, or is about a cancelled order."""
    IGNORED = "ignored"
    """An item came after the order was final or cancelled, or in the answer to a query that no longer holds the order.

    Such an item is recorded, but changes nothing.
    """
    FILLED_IN = "filled_in"
    GAVE_UP = "gave_up"
    CANCELLED = "cancelled"
    CHECK_REQUESTED = "check_requested"
    ASKED_ALONE = "asked_alone"
    SUSPECTED = "suspected"
    CLEARED = "cleared"
    OVERDUE = "overdue"
    """The order is still pending long after the age limit, for whatever reason."""
    REOPENED = "reopened"
    """An operator made the order pending again."""
    DISMISSED = "dismissed"
    """An operator cleared the attention of the order."""
    LINKED = "linked"
    """An operator linked an unmatched callback to the order. The next events record what the callback changes."""
    NOTE = "note"
    """An operator wrote a note. The order itself is unchanged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderEvent:
    """One row of `order_events`."""

    order_id: int
    at: datetime
    kind: EventKind
    source: Source
    query_id: int | None = None
    from_state: OrderState | None = None
    to_state: OrderState | None = None
    traffic_sts: str | None = None
    """The status as the platform wrote it, believed or not."""
    remark: str | None = None
    ori_amount: str | None = None
    detail: str | None = None
    """The reason, and the platform's own words about this order."""
    actor: str | None = None
    """The operator who caused the event; None if its source is not an operator."""
    repeats: int | None = None
    """How often the platform repeated what this event records; None if it never did."""


class Saying(NamedTuple):
    """What a callback says about an order, in the fields of the event that records it."""

    order_id: int
    kind: EventKind
    traffic_sts: str | None
    ori_amount: str | None
    detail: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """An order before and after a decision, with the events to record."""

    before: Order
    after: Order
    events: tuple[OrderEvent, ...] = field(default=())

    @staticmethod
    def none(order: Order) -> "Change":
        """Return a change that leaves the order as it is. `then` and `record` add to it."""
        return Change(before=order, after=order)

    @property
    def settles(self) -> bool:
        """Whether this change makes the order final."""
        return self.after.state.is_final and not self.before.state.is_final

    def then(self, order: Order, events: Iterable[OrderEvent] = ()) -> "Change":
        """Return this change with `order` as its new `after`, and with more events."""
        return Change(before=self.before, after=order, events=(*self.events, *events))

    def record(self, order: Order, kind: EventKind, *, source: Source, at: datetime, **said: Any) -> "Change":
        """Return this change with `order` as its new `after`, and with one more event. `said` has its other fields."""
        event = OrderEvent(
            order_id=order.id,
            at=at,
            kind=kind,
            source=source,
            from_state=self.before.state,
            to_state=order.state,
            **said,
        )
        return self.then(order, [event])


def learned_keys(changes: Iterable[Change]) -> list[OrderKey]:
    """The keys of the orders whose ids a change completed. Unmatched callbacks may name these orders by the new id."""
    return [change.after.key for change in changes if change.after.key != change.before.key]
