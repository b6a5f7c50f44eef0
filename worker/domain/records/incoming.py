"""Input: submitted orders, refused items, and what the platform says in answers and callbacks.

Texts that are stored are first made safe for every database (`storable`).

A report is what the platform said about one order, as text. `worker.domain.orders.verdicts` judges whether to believe
the report.

A query that gets no answer raises one of these errors, whose names are followed by the query's outcome:

    QueryError
    ├── NotSent           unsent       too little time was left, so nothing was sent
    ├── Unreachable       unreachable  no connection, so nothing was sent
    ├── DeadlineExceeded  timeout      the request was sent, but no complete answer came by the deadline
    ├── HttpError         http_error   an answer with a status other than 200
    ├── Refused           refused      the documented error object: a code and a message
    └── Malformed         malformed    an answer that cannot be read, or a connection that broke after the first byte

The outcome `lost` has no class, because the worker that would raise it has ended. Every text in an error can be stored
(no NUL, no lone surrogates), has a limited length, and contains no credential.
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
    """The callback settles its order by the same rules as an item of an answer."""
    CHECK = "check"
    """The callback only makes its order due; a query then finds the result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A submitted order, with every field checked."""

    key: OrderKey
    mobile: str | None
    expected_amount: Decimal | None
    submitted_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """An item that was refused without being read, because it is too large."""

    text: str
    """The start of the item."""
    errors: tuple[Sentence, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """A refused item of a list, or a refused list."""

    index: int | None
    """The item's index in the list; None if the list itself was refused."""
    payload: object
    errors: tuple[Sentence, ...]

    def as_answer(self) -> dict[str, object]:
        """The rejection as a task's answer shows it."""
        return {"index": self.index, "errors": list(self.errors)}


class RefusedText(NamedTuple):
    """A rejection as texts that every database can store."""

    payload: str
    """The refused input as JSON."""
    errors: str
    """The errors, one on each line."""
    errors_said: str | None = None
    """The errors as JSON, with their messages and values."""
    key: OrderKey | None = None
    """The key of a refused order, as it was sent; None for other input, or if the order has no id."""


class Directory:
    """An index of orders by their ids, used while a list is processed."""

    def __init__(self, orders: Iterable[Order]) -> None:
        # There is one dictionary for each id kind, because a loop over the kinds takes longer than two lookups.
        self._by_request_id: dict[tuple[str, str | None], int] = {}
        self._by_custom_parm: dict[tuple[str, str | None], int] = {}
        for order in orders:
            self.enter(order.key, order.id)

    def enter(self, key: OrderKey, order_id: int) -> None:
        """Note, in this object, that the ids in this key belong to this order."""
        if key.request_id is not None:
            self._by_request_id[key.account, key.request_id] = order_id
        if key.custom_parm is not None:
            self._by_custom_parm[key.account, key.custom_parm] = order_id

    def holders(self, key: OrderKey) -> list[int]:
        """Return the orders that have either id of a key: none, one, or two if its ids belong to different orders."""
        one = self._by_request_id.get((key.account, key.request_id))
        other = self._by_custom_parm.get((key.account, key.custom_parm))
        return sorted({holder for holder in (one, other) if holder is not None})


def storable(text: str, limit: int) -> str:
    """Return the first `limit` characters of a text, with NUL and lone surrogates replaced by U+FFFD.

    PostgreSQL refuses NUL in text, and no driver can encode a lone surrogate. JSON's escapes can contain both.
    """
    kept = text[:limit]
    # Nearly every text is plain ASCII without NUL. For such a text, these two checks are faster than the regex.
    return kept if kept.isascii() and "\x00" not in kept else _UNSTORABLE.sub("\ufffd", kept)


EXCERPT_LIMIT = 2000
"""How many characters of an answer are stored."""
STATUS_MSG_LIMIT = 500
"""How many characters of the platform's message, or of our own explanation, are stored."""
STATUS_CODE_LIMIT = 64
"""How many characters of the platform's code are stored."""

_STATUS_BY_TEXT = {str(status.value): status for status in TrafficStatus}


class Shape(StrEnum):
    """The form in which an answer holds its items. The platform's page documents only one: a single object."""

    ONE_OBJECT = "one_object"
    LIST = "list"
    OBJECT_WITH_LIST = "object_with_list"
    KEYED_BY_ID = "keyed_by_id"
    WRAPPED_OBJECT = "wrapped_object"
    NO_ITEMS = "no_items"
    """The answer holds an empty list of items, or only a success code."""
    ERROR_OBJECT = "error_object"
    UNREADABLE = "unreadable"


class Charset(StrEnum):
    """The encoding in which a body is read, and the reason."""

    UTF_8 = "utf_8"
    """The body is valid UTF-8, so its label is ignored."""
    GB18030 = "gb18030"
    """The body is not UTF-8, and the label names a GB encoding, or there is no label."""
    UNKNOWN = "unknown"
    """The body is not UTF-8, and its encoding is unknown. It is read as UTF-8, to find the first wrong byte."""

    @property
    def codec(self) -> str:
        """Python's name for the encoding."""
        return "gb18030" if self is Charset.GB18030 else "utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One item of an answer, or one callback. Fields are the platform's own text; None if absent, null or empty."""

    request_id: str | None = None
    custom_parm: str | None = None
    app_id: str | None = None
    mobile: str | None = None
    """The masked number, such as `188****0804`."""
    traffic_sts: str | None = None
    """The status as text, which need not be one of the three documented numbers. `status` interprets it."""
    remark: str | None = None
    ori_amount: str | None = None
    """The amount charged in yuan, as text, which need not be a number."""
    has_amount_field: bool = False
    """Whether the item has the amount field, even an empty one."""
    fault: str | None = None
    """Why the item cannot be believed, for example because a value has the wrong type; None if it can be believed.

    The reason is a coded text, or plain text if part of the answer had to be masked.
    """
    words: str = "{}"
    """The item as compact JSON, at most 2,000 characters, without NUL and lone surrogates."""

    @property
    def status(self) -> TrafficStatus | None:
        """The status that `traffic_sts` means; None if it is absent or unknown."""
        return _STATUS_BY_TEXT.get(self.traffic_sts or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A readable answer to one query, with its items matched to the polled ids."""

    said: Mapping[str, tuple[Report, ...]]
    """Maps each polled id that the answer names to its items. Identical items are kept once."""
    absent: tuple[str, ...]
    """The polled ids that the answer leaves out, in the order of the query."""
    added: tuple[Report, ...] = ()
    """Items that name no polled id."""
    excerpt: str = ""
    """The start of the body, as at most 2,000 storable characters."""
    http_status: int = field(default=200)

    @property
    def reports(self) -> list[Report]:
        """All items of the answer, whether their ids were polled or not."""
        return [report for reports in (*self.said.values(), self.added) for report in reports]

    @property
    def item_count(self) -> int:
        """The number of all items of the answer."""
        return len(self.reports)


class QueryError(Exception):
    """A query that ended without an answer. `str()` gives the reason, in words for people."""

    outcome: ClassVar[str]
    """The value that `platform_queries.outcome` gets."""

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
    """Nothing was sent, because less than a third of the time until the deadline was left before the first byte."""

    outcome = "unsent"


class Unreachable(QueryError):
    """No connection could be made (name, TCP or TLS), so no byte of the request was sent."""

    outcome = "unreachable"


class DeadlineExceeded(QueryError):
    """The request was sent, but no complete answer came by the deadline. The platform may have seen the request."""

    outcome = "timeout"


class HttpError(QueryError):
    """An answer with a status other than 200. `retry_after` is in seconds; None if the platform gave none."""

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
    """An answer that cannot be read, or a connection that broke after the first byte.

    `excerpt` is the start of the answer.
    """

    outcome = "malformed"
