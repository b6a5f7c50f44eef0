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
    """The platform said 0, and the status, remark or amount is new."""
    NOT_BELIEVED = "not_believed"
    """The platform said something that settles nothing."""
    CONTRADICTED = "contradicted"
    """A later result or amount contradicts a final state, or is about a cancelled order."""
    IGNORED = "ignored"
    """An item came after the order was final or cancelled, or in the answer to a query that no longer holds the order.
    It is only recorded."""
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
    """The operator who did it; None if the source is no operator."""
    repeats: int | None = None
    """How often the platform said the same again; None if it never did."""


class Saying(NamedTuple):
    """The content of a callback about an order, in the form of its event."""

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
        """Return a change of an order that leaves the order as it is, so far."""
        return Change(before=order, after=order)

    @property
    def settles(self) -> bool:
        """Whether this change makes the order final."""
        return self.after.state.is_final and not self.before.state.is_final

    def then(self, order: Order, events: Iterable[OrderEvent] = ()) -> "Change":
        """Return this change with a later state of the order and more events."""
        return Change(before=self.before, after=order, events=(*self.events, *events))

    def record(self, order: Order, kind: EventKind, *, source: Source, at: datetime, **said: Any) -> "Change":
        """Return this change with a later state of the order and an event; `said` are the event's other fields."""
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
    """The keys of the orders that learned an id. Unmatched callbacks may name these orders by the new id."""
    return [change.after.key for change in changes if change.after.key != change.before.key]
