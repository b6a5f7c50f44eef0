"""Notifications: what a billing system is sent about orders, where it goes, and how far that has come.

One try to deliver one: what is claimed, how it ends, and what is known of a row when that is noted.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from urllib.parse import urlsplit


class EventType(StrEnum):
    """What has happened to an order, as the body of a notification names it."""

    SUCCEEDED = "order.succeeded"
    FAILED = "order.failed"
    UNRESOLVED = "order.unresolved"
    CANCELLED = "order.cancelled"
    REOPENED = "order.reopened"
    ATTENTION = "order.attention"
    """It has another reason why a person should look at it, or none any more; its state is the same."""


class NotificationState(StrEnum):
    """How far a notification has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GAVE_UP = "gave_up"
    """It failed too often; it waits until somebody resends it."""


class Rank(IntEnum):
    """Which notifications go first: four of five claims take a result before anything else."""

    RESULT = 0
    """What has happened to an order as it comes."""
    BULK = 1
    """Acts on many orders at once, retries of refused input, resends."""
    RETRY = 2
    """What has failed by its own fault, of either kind."""


class TransportKind(StrEnum):
    """How notifications reach a billing system."""

    WEBHOOK = "webhook"
    CELERY = "celery"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewNotification:
    """A notification before it has a row. Its text is sent byte for byte, however often."""

    event_id: str
    """`msg_` and 128 random bits as 32 hex digits: the same at every try."""
    account: str
    order_id: int
    type: EventType
    version: int
    """Of the order: a receiver ignores what is not newer than what it holds."""
    rank: Rank
    body: str = field(repr=False)
    """JSON."""
    changed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification(NewNotification):
    """One row of `notifications`. Times are by the database's clock."""

    id: int
    state: NotificationState = NotificationState.PENDING
    due_at: datetime
    """When the next try may begin."""
    tries: int = 0
    """Failures that were its own and not its endpoint's."""
    refused_since: datetime | None = None
    """When the first of these was noted."""
    lease_token: str | None = None
    leased_until: datetime | None = None
    tried_at: datetime | None = None
    outcome: str | None = None
    """How the last try ended, in one word."""
    http_status: int | None = None
    answer: str | None = None
    """The first 500 characters that the receiver answered to the last try, without secrets."""
    delivered_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One row of `notify_endpoints`: where an account's notifications go, and how that endpoint fares."""

    account: str
    transport: TransportKind
    target_digest: str
    """SHA-256 of what it is in the settings, in hex: with another one it starts fresh."""
    shown: str
    """What it is to people, without a secret."""
    events: str | None = None
    """The types that it takes, joined by commas; None: all."""
    rest_level: int = 0
    """How often its rest was lengthened; 0 where it does not rest."""
    rest_from: datetime | None = None
    """It was left alone from then on: it rests, a probe is under way, or it is in doubt."""
    rest_until: datetime | None = None
    """From then on one delivery may begin."""
    failing_since: datetime | None = None
    failed_in_row: str | None = None
    """JSON: the ids of the different events that failed by their own fault, with no success since. With five of them it
    is in doubt."""
    last_failed_id: int | None = None
    """The event whose failure began or lengthened the rest."""
    stopped_at: datetime | None = None
    """When it answered 410: nothing is sent to it until somebody resumes it."""
    paused_at: datetime | None = None
    paused_by: str | None = None

    def takes(self, event: EventType) -> bool:
        """Whether it wants this type."""
        return self.events is None or event in self.events.split(",")


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """An endpoint of the settings that takes HTTP requests. The representation shows neither path nor secrets."""

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """One or two, each `whsec_` and base64: a request is signed with every one of them."""
    allow_http: bool = False
    """Whether a URL of `http` may lead beyond this machine."""
    ca_file: str | None = None
    """The certificates in PEM form that the receiver's is checked against; None: the usual ones."""

    transport = TransportKind.WEBHOOK

    @property
    def shown(self) -> str:
        """The URL's origin: its path and query may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"[:255]

    @property
    def digest(self) -> str:
        """What makes it another endpoint."""
        return hashlib.sha256(self.url.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class CeleryTask:
    """An endpoint of the settings that is a Celery task. The representation shows no URL."""

    task: str
    queue: str
    broker_url: str | None = field(default=None, repr=False)
    """None: the worker's own broker."""

    transport = TransportKind.CELERY

    @property
    def shown(self) -> str:
        """Task and queue."""
        return f"task {self.task} on queue {self.queue}"[:255]

    @property
    def digest(self) -> str:
        """What makes it another endpoint."""
        return hashlib.sha256("\n".join((self.task, self.queue, self.broker_url or "")).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """Where an account's notifications go, as the settings say."""

    account: str
    target: Webhook | CeleryTask
    events: tuple[EventType, ...] = ()
    """The types that it takes; none: all."""

    def as_endpoint(self) -> Endpoint:
        """Its row at its first start."""
        return Endpoint(
            account=self.account,
            transport=self.target.transport,
            target_digest=self.target.digest,
            shown=self.target.shown,
            events=",".join(self.events) or None,
        )


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
class EndedTry:
    """A claim whose delivery has ended."""

    claim: Claim
    result: DeliveryResult
    jitter: float
    """0 to 1, drawn at random: it spreads the next tries."""


class Permission(Enum):
    """What may be sent to an endpoint now."""

    NOTHING = "nothing"
    PROBE = "probe"
    """One delivery, which shows whether the endpoint has recovered."""
    ANY = "any"
