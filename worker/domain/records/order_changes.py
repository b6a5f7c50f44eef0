"""How a decision changes an order, and the record of every change."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from worker.domain.records.orders import Order, OrderKey, OrderState, Source


class EventKind(StrEnum):
    """What happened to an order, in `order_events`."""

    SETTLED = "settled"
    REPORTED = "reported"
    """The platform said 0, and the status, remark or amount is new."""
    NOT_BELIEVED = "not_believed"
    """The platform said something that settles nothing."""
    CONTRADICTED = "contradicted"
    """A later result or amount contradicts a final state, or is about a cancelled order."""
    IGNORED = "ignored"
    """Said after the order was final or cancelled, or by a query that no longer holds it: recorded only."""
    FILLED_IN = "filled_in"
    GAVE_UP = "gave_up"
    CANCELLED = "cancelled"
    CHECK_REQUESTED = "check_requested"
    ASKED_ALONE = "asked_alone"
    SUSPECTED = "suspected"
    CLEARED = "cleared"
    OVERDUE = "overdue"
    """Still pending long after the age limit, for whatever reason."""
    REOPENED = "reopened"
    """An operator made it pending again."""
    DISMISSED = "dismissed"
    """An operator cleared its attention."""
    LINKED = "linked"
    """An operator said that an unmatched callback is about it; what that changes follows."""
    NOTE = "note"
    """An operator has written something down; nothing of the order has changed."""


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
    """As the platform said it, believed or not."""
    remark: str | None = None
    ori_amount: str | None = None
    detail: str | None = None
    """Why, and what the platform said about this order in its own words."""
    actor: str | None = None
    """Who did it, where it was an operator."""
    repeats: int | None = None
    """How often the same was said again; None for never."""


class Saying(NamedTuple):
    """What a callback said about an order, as its event holds it."""

    order_id: int
    kind: EventKind
    traffic_sts: str | None
    ori_amount: str | None
    detail: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """An order before and after a decision, with what is to be recorded."""

    before: Order
    after: Order
    events: tuple[OrderEvent, ...] = field(default=())

    @staticmethod
    def none(order: Order) -> "Change":
        """The change of an order that stays as it is, so far."""
        return Change(before=order, after=order)

    @property
    def settles(self) -> bool:
        """Whether the order becomes final by this change."""
        return self.after.state.is_final and not self.before.state.is_final

    def then(self, order: Order, events: Iterable[OrderEvent] = ()) -> "Change":
        """The same change with a later state of the order and more events."""
        return Change(before=self.before, after=order, events=(*self.events, *events))

    def record(self, order: Order, kind: EventKind, *, source: Source, at: datetime, **said: Any) -> "Change":
        """The same change with a later state of the order, and with the event of it. `said`: its further fields."""
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
    """The keys of the orders that learned an id: kept callbacks may name them by it."""
    return [change.after.key for change in changes if change.after.key != change.before.key]
