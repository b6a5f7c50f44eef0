"""What tasks do about orders that somebody else holds locked: such items of a list are put off, the others taken in.

A person's transaction may hold orders for hours. Each list that names one of them would keep a process of the pool
waiting for as long as a lock is waited for, again and again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from worker.database.transactions import HeldOrders

Answer = dict[str, Any]

_PATIENCE_SECONDS = 0.3
"""Longer than the worker's own transactions hold an order."""
_PAUSE_SECONDS = 0.05
_HASTE_SECONDS = 10.0


class Patience:
    """One process's patience with orders that others hold: once it has waited in vain, it does not wait for a while,
    whichever orders they are."""

    def __init__(self) -> None:
        self._hasty_until = 0.0

    def take_in(self, take: Callable[[object], Answer], items: object) -> tuple[Answer, list[object]]:
        """Take in a list by `take`; returns its answer, and the items that are put off because of their orders.

        Raises HeldOrders where that would be all of them.
        """
        left = dict(enumerate(items)) if isinstance(items, list) else {}
        put_off: list[object] = []
        began = time.monotonic()
        give_up = began + (_PATIENCE_SECONDS if began >= self._hasty_until else 0)
        while True:
            try:
                answer = take(list(left.values()) if put_off else items)
            except HeldOrders as held:
                if time.monotonic() < give_up:
                    time.sleep(_PAUSE_SECONDS)
                    continue
                self._hasty_until = time.monotonic() + _HASTE_SECONDS
                named = [index for index, item in left.items() if _names(item, held.names)]
                if not named or len(named) == len(left):
                    raise
                put_off += [left.pop(index) for index in named]
            else:
                return _numbered_as_sent(answer, list(left)) if put_off else answer, put_off


def _names(item: object, names: frozenset[str]) -> bool:
    """Whether an order, a reference or a callback has one of these ids in any field."""
    return isinstance(item, Mapping) and any(str(value) in names for value in item.values())


def _numbered_as_sent(answer: Answer, indexes: list[int]) -> Answer:
    rejected = [{**one, "index": indexes[one["index"]]} for one in answer["rejected"]]
    return {**answer, "rejected": rejected}
