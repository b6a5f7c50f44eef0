"""What comes in: orders as they were sent, what was refused, which orders a list names; and what the platform said.

Texts that are kept of it are such that every database can hold them (`storable`).

The platform answers a query, or speaks of one order in a callback. A report is kept as it was said: text, not yet
believed. `worker.domain.orders.verdicts` judges it. A query without an answer ends in one of these classes, one for
each failed outcome of the contract:

    QueryError
    ├── NotSent           unsent       too little time was left; the platform saw nothing
    ├── Unreachable       unreachable  no connection, so the platform saw nothing
    ├── DeadlineExceeded  timeout      the request went out, no whole answer came by the deadline
    ├── HttpError         http_error   an answer with a status other than 200
    ├── Refused           refused      the documented error object: a code and a message
    └── Malformed         malformed    an answer that cannot be read, or a connection that broke after the first byte

The outcome `lost` has no class: the worker that could raise it has ended. Every text that an error holds may
be stored as it is (no NUL, no lone surrogates), is bounded, and never holds a credential.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, NamedTuple

from worker.domain.records.orders import Order, OrderKey, TrafficStatus
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


EXCERPT_LIMIT = 2000
"""Characters of an answer that are kept."""
STATUS_MSG_LIMIT = 500
"""Characters of the platform's message, and of our own explanation, that are kept."""
STATUS_CODE_LIMIT = 64
"""Characters of the platform's code that are kept."""

_STATUS_BY_TEXT = {str(status.value): status for status in TrafficStatus}


class Shape(StrEnum):
    """How an answer holds its items: the platform's page shows one object only."""

    ONE_OBJECT = "one_object"
    LIST = "list"
    OBJECT_WITH_LIST = "object_with_list"
    KEYED_BY_ID = "keyed_by_id"
    WRAPPED_OBJECT = "wrapped_object"
    NO_ITEMS = "no_items"
    """An empty list of items, or a code of success alone."""
    ERROR_OBJECT = "error_object"
    UNREADABLE = "unreadable"


class Charset(StrEnum):
    """How the bytes of a body are read, and so why."""

    UTF_8 = "utf_8"
    """They are UTF-8, so no label counts."""
    GB18030 = "gb18030"
    """They are not UTF-8, and the label names an encoding of GB, or there is none."""
    UNKNOWN = "unknown"
    """They are not UTF-8, and no label that counts says what else: read as UTF-8, which finds the first wrong byte."""

    @property
    def codec(self) -> str:
        """Python's name of the encoding."""
        return "gb18030" if self is Charset.GB18030 else "utf-8"


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
    def reports(self) -> list[Report]:
        """All items that the answer holds, polled or not."""
        return [report for reports in (*self.said.values(), self.added) for report in reports]

    @property
    def item_count(self) -> int:
        """How many these are."""
        return len(self.reports)


class QueryError(Exception):
    """A query that ended without an answer. `str()` says why, for a person."""

    outcome: ClassVar[str]
    """The value of `platform_queries.outcome`."""

    def __init__(
        self,
        why: str,
        *,
        http_status: int | None = None,
        status_code: str | None = None,
        status_msg: str | None = None,
        excerpt: str = "",
    ) -> None:
        super().__init__(storable(why, STATUS_MSG_LIMIT))
        self.http_status = http_status
        self.status_code = None if status_code is None else storable(status_code, STATUS_CODE_LIMIT)
        self.status_msg = None if status_msg is None else storable(status_msg, STATUS_MSG_LIMIT)
        self.excerpt = storable(excerpt, EXCERPT_LIMIT)


class NotSent(QueryError):
    """Less than a third of the deadline was left before the first byte, so nothing was sent."""

    outcome = "unsent"


class Unreachable(QueryError):
    """No connection could be made (name, TCP or TLS), so no byte of the request was sent."""

    outcome = "unreachable"


class DeadlineExceeded(QueryError):
    """The request went out, and no whole answer had come by the deadline. The platform may have seen the request."""

    outcome = "timeout"


class HttpError(QueryError):
    """An answer with a status other than 200. `retry_after` is in seconds, None where the platform gave no wait."""

    outcome = "http_error"
    http_status: int

    def __init__(self, http_status: int, *, retry_after: float | None = None, excerpt: str = "") -> None:
        super().__init__(f"the platform answered with HTTP status {http_status}", excerpt=excerpt)
        self.http_status = http_status
        self.retry_after = retry_after


class Refused(QueryError):
    """The platform's error object, `{"statusCode": ..., "statusMsg": ...}`, with HTTP status 200."""

    outcome = "refused"
    status_code: str
    status_msg: str

    def __init__(self, status_code: str, status_msg: str, *, http_status: int = 200, excerpt: str = "") -> None:
        super().__init__(
            f"the platform refused the query: {status_code} {status_msg}".rstrip(),
            http_status=http_status,
            status_code=status_code,
            status_msg=status_msg,
            excerpt=excerpt,
        )


class Malformed(QueryError):
    """An answer that cannot be read; `excerpt` is its start. Also a connection that broke after the first byte."""

    outcome = "malformed"
