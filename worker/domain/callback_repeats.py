"""Callbacks that only repeat what is recorded of their order: they are counted beside that event, and change nothing.

So an attention that an operator has dismissed does not come back by the callback that raised it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from worker.domain.records.order_changes import Change, EventKind, OrderEvent, Saying
from worker.domain.records.orders import OrderState, Source

# What a callback leaves behind with an order that it does not settle.
_REPEATED = frozenset({EventKind.IGNORED, EventKind.CONTRADICTED, EventKind.NOT_BELIEVED})


def sayings_of(changes: Iterable[Change]) -> list[Saying]:
    """What callbacks said about orders that were no longer pending."""
    return [saying for change in changes for event in change.events if (saying := _saying(event))]


def shown_sayings_of(changes: Iterable[Change]) -> list[Saying]:
    """Those of them by which a person would be shown an order."""
    return sayings_of(change for change in changes if change.after.attention is not change.before.attention)


def repeated_by(change: Change, said: Mapping[Saying, int]) -> list[int]:
    """The ids of the stored events that one callback repeats by this change; `said` are those there are."""
    return [said[saying] for saying in sayings_of([change]) if saying in said]


def with_repeats(events: Sequence[OrderEvent], times: int) -> Sequence[OrderEvent]:
    """The events of a callback that came so many times more before its order was known."""
    return [replace(event, repeats=(event.repeats or 0) + times) for event in events] if times else events


def each_once(changes: Iterable[Change]) -> list[Change]:
    """The changes of one list without events that repeat another of the list: that one counts them."""
    return [replace(change, events=_each_once(change.events)) for change in changes]


def _each_once(events: Sequence[OrderEvent]) -> tuple[OrderEvent, ...]:
    kept: dict[object, OrderEvent] = {}
    for number, event in enumerate(events):
        key = _saying(event) or number
        first = kept.get(key)
        if first is None:
            kept[key] = event
        else:
            kept[key] = replace(first, repeats=(first.repeats or 0) + 1 + (event.repeats or 0))
    return tuple(kept.values())


def _saying(event: OrderEvent) -> Saying | None:
    is_said_late = event.from_state not in (None, OrderState.PENDING)
    if not is_said_late or event.source is not Source.CALLBACK or event.kind not in _REPEATED:
        return None
    return Saying(event.order_id, event.kind, event.traffic_sts, event.ori_amount, event.detail)
