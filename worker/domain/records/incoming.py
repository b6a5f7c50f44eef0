"""What came in: an order as it was sent, what was refused, and which orders a list names.

Texts that are kept of it are such that every database can hold them (`storable`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from worker.domain.records.orders import Order, OrderKey
from worker.domain.records.sentences import Sentence

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
    errors: tuple[Sentence, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """One item of a list that was refused, or the list itself."""

    index: int | None
    """Its index in the list; None where the list itself was refused."""
    payload: object
    errors: tuple[Sentence, ...]

    def as_answer(self) -> dict[str, object]:
        """The form in a task's answer."""
        return {"index": self.index, "errors": list(self.errors)}


class RefusedText(NamedTuple):
    """A rejection as it is kept: texts that every database can hold."""

    payload: str
    """JSON."""
    errors: str
    """One a line."""
    errors_said: str | None = None
    """The same as JSON, with their messages and values."""
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


def storable(text: str, limit: int) -> str:
    """The first `limit` characters of a text, with NUL and lone surrogates replaced by U+FFFD.

    PostgreSQL refuses NUL in text; no driver can encode a lone surrogate, which JSON's escapes are able to spell.
    """
    kept = text[:limit]
    # Nearly every field is plain: these two checks cost less than one search.
    return kept if kept.isascii() and "\x00" not in kept else _UNSTORABLE.sub("\ufffd", kept)
