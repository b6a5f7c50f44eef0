"""What the platform said about one order, in an answer or in a callback.

A report is kept as it was said: text, not yet believed. `worker.domain.orders.verdicts` judges it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class IdKind(StrEnum):
    """The two names by which the platform knows an order; the values are the request's field names."""

    REQUEST_ID = "requestId"
    CUSTOM_PARM = "customParm"


class TrafficStatus(IntEnum):
    """What the platform's `trafficSts` may say. An order's row keeps the number; an item holds it as text."""

    RECHARGED = 1
    FAILED = -1
    RECHARGING = 0


_STATUS_BY_TEXT = {str(status.value): status for status in TrafficStatus}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One item of an answer, or one callback. Text as it was said; None where a field is absent, null or empty."""

    request_id: str | None = None
    custom_parm: str | None = None
    app_id: str | None = None
    mobile: str | None = None
    """The number, masked (`188****0804`)."""
    traffic_sts: str | None = None
    """May be other than the platform's three numbers: `status` reads it."""
    remark: str | None = None
    ori_amount: str | None = None
    """The amount charged in yuan, as text that may not be a number."""
    has_amount_field: bool = False
    """Whether the field was there at all, even if empty."""
    fault: str | None = None
    """Why the item cannot be believed whatever it says (keys that collide, a value of the wrong type), else None.

    A coded text, or plain text where the answer held something to be masked."""
    words: str = "{}"
    """The item's own words: compact JSON, at most 2,000 characters, free of NUL and lone surrogates."""

    @property
    def status(self) -> TrafficStatus | None:
        """The status that the text means; None where it is absent or unknown."""
        return _STATUS_BY_TEXT.get(self.traffic_sts or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A readable answer to one query, matched to the polled ids."""

    said: Mapping[str, tuple[Report, ...]]
    """For each polled id that the answer names: its items, in order. Identical items are kept once."""
    absent: tuple[str, ...]
    """The polled ids that the answer left out, in the order of the query."""
    added: tuple[Report, ...] = ()
    """Items that name no polled id."""
    excerpt: str = ""
    """The start of the body, at most 2,000 characters, storable."""
    http_status: int = field(default=200)

    @property
    def item_count(self) -> int:
        """How many items the answer holds, polled or not."""
        return sum(len(reports) for reports in self.said.values()) + len(self.added)
