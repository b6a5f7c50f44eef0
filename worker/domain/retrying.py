"""Refused input that is tried once more: what it was, and which items it held."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from worker.domain.records.incoming import Rejection
from worker.domain.records.orders import OrderKey
from worker.domain.submissions import MAX_LIST

_GONE = "is not there: it was retried already, or there never was such a row; `reconciler rejected` lists them"


class InputKind(StrEnum):
    """What refused input was to be."""

    ORDERS = "orders"
    CALLBACKS = "callbacks"
    CANCELLATIONS = "cancellations"
    CHECKS = "checks"


_KIND_OF = {
    "reconciler.enqueue_orders": InputKind.ORDERS,
    "reconciler.enqueue_order": InputKind.ORDERS,
    "reconciler enqueue": InputKind.ORDERS,
    "reconciler.record_callbacks": InputKind.CALLBACKS,
    "reconciler.cancel_orders": InputKind.CANCELLATIONS,
    "reconciler.check_orders": InputKind.CHECKS,
    "reconciler check": InputKind.CHECKS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedInput:
    """A refused row that can be tried once more."""

    kind: InputKind
    parts: tuple[list[object], ...]
    """Its items, in lists that are not too long."""
    is_list: bool
    """Whether a whole list was refused: then each item that is refused once more gets a row of its own."""


@dataclass(kw_only=True, slots=True)
class Retried:
    """What became of a refused row."""

    done: int = 0
    """Items that were taken in, or were known already."""
    rejections: list[Rejection] = field(default_factory=list)
    """Those that were refused once more, and are kept again."""
    fault: str | None = None
    """Why nothing was tried."""
    keys: list[OrderKey] = field(default_factory=list)
    """Of orders for which kept callbacks may wait."""


def gone() -> Retried:
    """What is said of a row that is not there."""
    return Retried(fault=_GONE)


def read_refused(source: str, payload: str, errors: str) -> RefusedInput | str:
    """What a refused row held; or why it cannot be tried once more."""
    if errors.startswith("message:"):
        # The row holds the message's own form, not a list of items.
        return "is a message that was refused unread: have it sent again"
    kind = _KIND_OF.get(source)
    if kind is None:
        return f"came from {source}, which is not retried: have it sent again"
    try:
        held = json.loads(payload)
    except (ValueError, RecursionError):
        return "was kept in part only, or is no JSON: have it sent again"
    items = held if isinstance(held, list) else [held]
    if not items:
        return "is an empty list: there is nothing to retry"
    parts = tuple(items[start : start + MAX_LIST] for start in range(0, len(items), MAX_LIST))
    return RefusedInput(kind=kind, parts=parts, is_list=isinstance(held, list))


def errors_of(rejections: Sequence[Rejection]) -> list[str]:
    """The faults of what was refused once more, for a person."""
    return [error for rejection in rejections for error in rejection.errors]
