"""What came in: an order as it was sent, what was refused, and which orders a list names.

Texts that are kept of it are such that every database can hold them (`storable`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from worker.domain.records.orders import IdKind, Order, OrderKey

Item = TypeVar("Item", bound=tuple[Any, ...])
"""One item of a list, after its index."""

HeldName = tuple[str | None, IdKind, str]
"""An id that is waited for: in an account, by what may be of any account (""), or by items of every account (None)."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Trust(StrEnum):
    """What a callback may do to its order."""

    SETTLE = "settle"
    """It settles the order by the same rules as an item of an answer."""
    CHECK = "check"
    """It only makes the order due: a query says what is true."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """An order as it was sent, with every field checked."""

    key: OrderKey
    mobile: str | None
    expected_amount: Decimal | None
    submitted_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """An item that was refused unread, as too large."""

    text: str
    """Its start."""
    errors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """One item of a list that was refused, or the list itself."""

    index: int | None
    """Its index in the list; None where the list itself was refused."""
    payload: object
    errors: tuple[str, ...]

    def as_answer(self) -> dict[str, object]:
        """The form in a task's answer."""
        return {"index": self.index, "errors": list(self.errors)}


class RefusedText(NamedTuple):
    """A rejection as it is kept: texts that every database can hold."""

    payload: str
    """JSON."""
    errors: str
    """One a line."""
    key: OrderKey | None = None
    """What an order calls itself that was refused; None for other input, and where it names no id."""


class Directory:
    """Which orders hold which ids, while a list is worked through."""

    def __init__(self, orders: Iterable[Order]) -> None:
        # One dictionary for each id kind: a loop over the kinds takes longer than two lookups.
        self._by_request_id: dict[tuple[str, str | None], int] = {}
        self._by_custom_parm: dict[tuple[str, str | None], int] = {}
        for order in orders:
            self.enter(order.key, order.id)

    def enter(self, key: OrderKey, order_id: int) -> None:
        """Record that an order holds the ids of a key."""
        if key.request_id is not None:
            self._by_request_id[key.account, key.request_id] = order_id
        if key.custom_parm is not None:
            self._by_custom_parm[key.account, key.custom_parm] = order_id

    def holders(self, key: OrderKey) -> list[int]:
        """The orders that hold either id of a key: none, one, or two where its ids belong to different orders."""
        one = self._by_request_id.get((key.account, key.request_id))
        other = self._by_custom_parm.get((key.account, key.custom_parm))
        return sorted({holder for holder in (one, other) if holder is not None})


class HeldOrders:
    """The orders that a list names and somebody else holds locked, and the items that are put off for them.

    With `are_waited_for` the transaction waits until they are free instead: there are none. `names` are the ids that
    earlier items left waiting; this adds to them.
    """

    def __init__(self, names: set[HeldName] | None = None, *, are_waited_for: bool = False) -> None:
        self.orders: list[Order] | None = None if are_waited_for else []
        """Whoever locks orders adds to these."""
        self.put_off: list[int] = []
        """The indexes of the items that wait."""
        self._names = set() if names is None else names

    def hold(self, keys: Iterable[OrderKey]) -> None:
        """Put off, from now on, what names one of these ids. A key without an account ("") names an order of any."""
        self._names.update(*(_names_of(key, key.account or None, "") for key in keys))

    def hold_unread(self, items: Iterable[object]) -> None:
        """Put off, from now on, whatever shares a value with these items, which are not read, in every account."""
        values = [value for item in items if isinstance(item, Mapping) for value in item.values()]
        self._names |= {(None, kind, str(value)) for value in values for kind in IdKind}

    def sort_out(self, items: Sequence[Item], keys_of: Callable[[Item], Iterable[OrderKey]]) -> Sequence[Item]:
        """Put off the items that name one of these orders; returns the others. `keys_of` are all that an item may name.

        An item that shares an id with an earlier one that is put off is put off, too: the earlier one may give that id
        to a known order, and without it the later one would begin another order.
        """
        self.hold(order.key for order in self.orders or ())
        if not self._names:
            return items
        others = []
        for item in items:
            keys = list(keys_of(item))
            if any(self._names & _names_of(key, key.account, None) for key in keys):
                self.put_off.append(item[0])
                self.hold(keys)
            else:
                others.append(item)
        return others


def _names_of(key: OrderKey, *accounts: str | None) -> set[HeldName]:
    ids = [(kind, value) for kind in IdKind if (value := key.id_of(kind)) is not None]
    return {(account, *one) for one in ids for account in accounts}


def storable(text: str, limit: int) -> str:
    """The first `limit` characters of a text, with NUL and lone surrogates replaced by U+FFFD.

    PostgreSQL refuses NUL in text; no driver can encode a lone surrogate, which JSON's escapes are able to spell.
    """
    kept = text[:limit]
    # Nearly every field is plain: these two checks cost less than one search.
    return kept if kept.isascii() and "\x00" not in kept else _UNSTORABLE.sub("\ufffd", kept)
