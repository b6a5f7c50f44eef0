"""What came in: an order as it was sent, and what was refused."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from worker.domain.records.order_keys import OrderKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """An order as it was sent, with every field checked."""

    key: OrderKey
    mobile: str | None
    expected_amount: Decimal | None
    submitted_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """What was refused before it was read: too large."""

    text: str
    """Its start."""
    errors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """One item of a list that was refused, or the list itself."""

    index: int | None
    """Its place in the list; None where the list itself was refused."""
    payload: object
    errors: tuple[str, ...]

    def as_answer(self) -> dict[str, object]:
        """The form in which a task tells its caller."""
        return {"index": self.index, "errors": list(self.errors)}


class RefusedText(NamedTuple):
    """A rejection as it is kept: texts that every database can hold."""

    payload: str
    """JSON."""
    errors: str
    """One a line."""
