"""Why a query ended without an answer: one class per failed outcome of the contract.

    QueryError
    ├── NotSent           unsent       too little time was left; the platform saw nothing
    ├── Unreachable       unreachable  no connection, so the platform saw nothing
    ├── DeadlineExceeded  timeout      the request went out, no whole answer came by the deadline
    ├── HttpError         http_error   an answer with a status other than 200
    ├── Refused           refused      the documented error object: a code and a message
    └── Malformed         malformed    an answer that cannot be read, or a connection that broke after the first byte

The outcome `lost` has no class: the worker that could raise it has ended. Every text held here may
be stored as it is (no NUL, no lone surrogates), is bounded, and never holds a credential.
"""

from typing import ClassVar

from worker.domain.records.incoming import storable

EXCERPT_LIMIT = 2000
"""Characters of an answer that are kept."""
STATUS_MSG_LIMIT = 500
"""Characters of the platform's message, and of our own explanation, that are kept."""
STATUS_CODE_LIMIT = 64
"""Characters of the platform's code that are kept."""


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
