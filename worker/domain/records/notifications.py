"""Notifications about orders for billing systems, their endpoints, and the tries to deliver them."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from urllib.parse import urlsplit


class EventType(StrEnum):
    """What happened to an order, as the body of a notification names it."""

    SUCCEEDED = "order.succeeded"
    FAILED = "order.failed"
    UNRESOLVED = "order.unresolved"
    CANCELLED = "order.cancelled"
    REOPENED = "order.reopened"
    ATTENTION = "order.attention"
    """The reason for attention changed or was cleared, but the state did not change."""


class NotificationState(StrEnum):
    """The progress of a notification."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GAVE_UP = "gave_up"
    """The notification failed too often. It waits until somebody resends it."""


class Rank(IntEnum):
    """The rank of a notification. Four of five claims take notifications of rank `RESULT` before any other."""

    RESULT = 0
    """A change of a single order, as it happens."""
    BULK = 1
    """Changes of many orders at once, retries of refused input, and resends."""
    RETRY = 2
    """A notification that failed by its own fault, whether it was `RESULT` or `BULK` before."""


class TransportKind(StrEnum):
    """The means by which notifications reach a billing system."""

    WEBHOOK = "webhook"
    CELERY = "celery"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewNotification:
    """A notification that has no row yet. Every try sends the same bytes."""

    event_id: str
    """`msg_` and 128 random bits as 32 hex digits. Every try sends the same id."""
    account: str
    order_id: int
    type: EventType
    version: int
    """The version of the order. A receiver ignores a version that is not newer than the one it has."""
    rank: Rank
    body: str = field(repr=False)
    """The JSON text that is sent."""
    changed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification(NewNotification):
    """One row of `notifications`. Times are on the database's clock."""

    id: int
    state: NotificationState = NotificationState.PENDING
    due_at: datetime
    """When the next try may begin."""
    tries: int = 0
    """The number of failures that were the fault of this notification and not of its endpoint."""
    refused_since: datetime | None = None
    """When the first failure that was the fault of this notification was recorded; None if there was none."""
    lease_token: str | None = None
    leased_until: datetime | None = None
    tried_at: datetime | None = None
    outcome: str | None = None
    """How the last try ended, in one word."""
    http_status: int | None = None
    answer: str | None = None
    """The first 500 characters of the receiver's answer to the last try, without secrets."""
    delivered_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One row of `notify_endpoints`: the endpoint of an account's notifications, and its condition."""

    account: str
    transport: TransportKind
    target_digest: str
    """The SHA-256 of the target in the settings, in hex. If it changes, the endpoint's condition is reset."""
    shown: str
    """The target as people see it, without secrets."""
    events: str | None = None
    """The event types that the endpoint takes, joined by commas; None for all."""
    rest_level: int = 0
    """How often the present rest was begun or lengthened; 0 if the endpoint does not rest.

    During a rest, which follows failures, nothing is sent to the endpoint.
    """
    rest_from: datetime | None = None
    """Since when the endpoint has rested, been probed or been in doubt; None if it takes notifications as usual."""
    rest_until: datetime | None = None
    """When the rest ends. Then one delivery may begin, as a probe."""
    failing_since: datetime | None = None
    failed_in_row: str | None = None
    """The ids, as JSON, of up to five different events that failed by their own fault since the last success.

    If there are five ids, the endpoint is in doubt.
    """
    last_failed_id: int | None = None
    """The id of the event whose failure began or lengthened the rest."""
    stopped_at: datetime | None = None
    """When the endpoint answered 410. Nothing is sent to it until somebody resumes it."""
    paused_at: datetime | None = None
    paused_by: str | None = None

    def takes(self, event: EventType) -> bool:
        """Whether the endpoint takes this event type."""
        return self.events is None or event in self.events.split(",")


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """A target in the settings that takes HTTP requests. The representation shows neither URL nor secrets."""

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """One or two secrets, each `whsec_` and base64. A request is signed with each of them."""
    allow_http: bool = False
    """Whether an `http` URL may lead to another machine."""
    ca_file: str | None = None
    """A file of CA certificates (PEM) that verify the receiver's certificate; None for the usual ones."""

    transport = TransportKind.WEBHOOK

    @property
    def shown(self) -> str:
        """The origin of the URL. Path and query are left out, because they may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"[:255]

    @property
    def digest(self) -> str:
        """The SHA-256 of the URL, in hex. Another digest means another endpoint."""
        return hashlib.sha256(self.url.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class CeleryTask:
    """A target in the settings that is a Celery task. The representation does not show the broker's URL."""

    task: str
    queue: str
    broker_url: str | None = field(default=None, repr=False)
    """The URL of the task's broker; None for the worker's own broker."""

    transport = TransportKind.CELERY

    @property
    def shown(self) -> str:
        """The task and its queue, in words."""
        return f"task {self.task} on queue {self.queue}"[:255]

    @property
    def digest(self) -> str:
        """The SHA-256 of task, queue and broker, in hex. Another digest means another endpoint."""
        return hashlib.sha256("\n".join((self.task, self.queue, self.broker_url or "")).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """The endpoint of an account's notifications, according to the settings."""

    account: str
    target: Webhook | CeleryTask
    events: tuple[EventType, ...] = ()
    """The event types that the endpoint takes; empty for all."""

    def as_endpoint(self) -> Endpoint:
        """Return the row of a new endpoint with these settings."""
        return Endpoint(
            account=self.account,
            transport=self.target.transport,
            target_digest=self.target.digest,
            shown=self.target.shown,
            events=",".join(self.events) or None,
        )


class DeliveryOutcome(StrEnum):
    """How a try ended, as `notifications.outcome` stores it."""

    ACCEPTED = "accepted"
    """The receiver answered 2xx; or the broker confirmed the message, or Redis answered LPUSH."""
    UNREACHABLE = "unreachable"
    """No connection could be made, TLS failed, or the connection to a broker broke."""
    TIMEOUT = "timeout"
    """No complete headers, or no confirmation, came in time."""
    HTTP_ERROR = "http_error"
    """The receiver answered with a status other than 2xx."""
    MALFORMED = "malformed"
    """The connection broke, or the answer cannot be read."""
    REFUSED = "refused"
    """The broker has no such queue, or did not take the message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryResult:
    """The end of one try."""

    outcome: DeliveryOutcome
    http_status: int | None = None
    answer: str | None = None
    """At most 500 characters of the receiver's answer, or of the error, without secrets."""
    retry_after: float | None = None
    """For how many seconds the receiver asks us to send nothing; None if it does not ask."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A notification that only this process may send, until its lease ends."""

    id: int
    account: str
    event_id: str
    order_id: int
    body: str = field(repr=False)
    token: str
    """The token of the lease."""
    claimed_at: datetime
    """The time of the claim, on the database's clock."""
    rest_from: datetime | None
    """The endpoint's `rest_from` at the claim. If it is another one when the try ends, a failure lengthens no rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedTry:
    """A claim, and how its delivery ended."""

    claim: Claim
    result: DeliveryResult
    jitter: float
    """A random number from 0 to 1. It varies the waits, so that the next tries do not all come at once."""


class Permission(Enum):
    """What may be sent to an endpoint now."""

    NOTHING = "nothing"
    PROBE = "probe"
    """One delivery may be sent, to show whether the endpoint has recovered."""
    ANY = "any"
