"""One try to deliver a notification: what is claimed, how it ends, and what is known of a row when that is noted."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum

from worker.domain.records.notifications import NotificationState, Rank


class DeliveryOutcome(StrEnum):
    """How a try ended, as `notifications.outcome` keeps it."""

    ACCEPTED = "accepted"
    """The receiver answered 2xx; the broker confirmed the message, or Redis answered LPUSH."""
    UNREACHABLE = "unreachable"
    """No connection, TLS included; for a broker also one that broke."""
    TIMEOUT = "timeout"
    """No complete headers, or no confirmation, in time."""
    HTTP_ERROR = "http_error"
    """The receiver answered with a status other than 2xx."""
    MALFORMED = "malformed"
    """The connection broke, or the answer cannot be read."""
    REFUSED = "refused"
    """The broker has no such queue, or did not take the message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryResult:
    """How one try ended."""

    outcome: DeliveryOutcome
    http_status: int | None = None
    answer: str | None = None
    """At most 500 characters of what the receiver answered, or of what went wrong, without secrets."""
    retry_after: float | None = None
    """Seconds that the receiver wants to be left alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A notification that this process alone may send, for as long as its lease lasts."""

    id: int
    account: str
    event_id: str
    order_id: int
    body: str = field(repr=False)
    token: str
    """Of the lease."""
    claimed_at: datetime
    """By the database's clock."""
    rest_from: datetime | None
    """The rest that the endpoint was in when this was claimed: its failure speaks of no other one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DueRow:
    """A pending notification, as far as a claim needs to know it."""

    id: int
    event_id: str
    order_id: int
    body: str = field(repr=False)
    tries: int
    due_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedTry:
    """A claim whose delivery has ended."""

    claim: Claim
    result: DeliveryResult
    jitter: float
    """0 to 1, drawn at random: it spreads the next tries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedRow:
    """What a failure may change in the row of a notification, and what a log names it by."""

    id: int
    event_id: str
    order_id: int
    state: NotificationState
    rank: Rank
    tries: int
    due_at: datetime
    refused_since: datetime | None
    lease_token: str | None


class Permission(Enum):
    """What may be sent to an endpoint now."""

    NOTHING = "nothing"
    PROBE = "probe"
    """One delivery, which shows whether the endpoint has recovered."""
    ANY = "any"
