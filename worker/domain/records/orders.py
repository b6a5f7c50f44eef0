"""An order as the worker knows it: how it is named, the states it may take, and why it may need a person."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any


class OrderState(StrEnum):
    """The states of an order; only `pending` orders are polled."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    """Final: the platform said 1, with an amount."""
    FAILED = "failed"
    """Final: the platform said -1 about an order that it knows."""
    UNRESOLVED = "unresolved"
    """Polling stopped and a person decides; an answer or a callback may still settle it."""
    CANCELLED = "cancelled"
    """The billing system has dealt with it; never changes by itself."""

    @property
    def is_final(self) -> bool:
        """Whether evidence has settled the order for good."""
        return self in (OrderState.SUCCEEDED, OrderState.FAILED)

    @property
    def may_settle(self) -> bool:
        """Whether an answer or a callback may still settle the order."""
        return self in (OrderState.PENDING, OrderState.UNRESOLVED)


class Attention(StrEnum):
    """Why a person should look at an order, the gravest first: a row holds one reason, its events hold all."""

    LATE_CONFLICT = "late_conflict"
    CONFLICTING_ANSWER = "conflicting_answer"
    AMOUNT_MISMATCH = "amount_mismatch"
    MOBILE_MISMATCH = "mobile_mismatch"
    UNKNOWN_STATUS = "unknown_status"
    UNKNOWN_TO_PLATFORM = "unknown_to_platform"
    REJECTED_BY_PLATFORM = "rejected_by_platform"
    TOO_OLD = "too_old"


_GRAVITY = {reason: position for position, reason in enumerate(Attention)}


def gravest(*reasons: Attention | None) -> Attention | None:
    """The reason that a row shows, out of several; None where there is none."""
    return min((reason for reason in reasons if reason is not None), key=_GRAVITY.__getitem__, default=None)


class Source(StrEnum):
    """Where a change came from."""

    QUERY = "query"
    CALLBACK = "callback"
    ENQUEUE = "enqueue"
    BILLING = "billing"
    """The billing system's cancel and check tasks."""
    OPERATOR = "operator"
    WORKER = "worker"
    """The worker by itself, from the order's age."""


class Lane(StrEnum):
    """How an order is polled."""

    BATCH = "batch"
    ALONE = "alone"
    """Three absences in a row: polled in a query of its own."""
    SUSPECT = "suspect"
    """It was in a query that failed: polled with its group only, until a query of the group is answered."""
    LONE_SUSPECT = "lone_suspect"
    """The only suspect of its group: polled after the groups of two and more."""

    @property
    def is_suspect(self) -> bool:
        """Whether an order in this lane joins no batch until a query that polls it is answered."""
        return self in (Lane.SUSPECT, Lane.LONE_SUSPECT)

    @property
    def is_apart(self) -> bool:
        """Whether an order in this lane joins no batch, for whatever reason."""
        return self is not Lane.BATCH


class IdKind(StrEnum):
    """The two names by which the platform knows an order; the values are the request's field names."""

    REQUEST_ID = "requestId"
    CUSTOM_PARM = "customParm"


class TrafficStatus(IntEnum):
    """What the platform's `trafficSts` may say. An order's row keeps the number; an item holds it as text."""

    RECHARGED = 1
    FAILED = -1
    RECHARGING = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderKey:
    """The name of an order outside the worker: an account and at least one of the two ids."""

    account: str
    request_id: str | None = None
    custom_parm: str | None = None

    def id_of(self, kind: IdKind) -> str | None:
        """The id of one kind, or None where the order has none."""
        return self.request_id if kind is IdKind.REQUEST_ID else self.custom_parm

    def with_id(self, kind: IdKind, value: str) -> "OrderKey":
        """The same key with an id of one kind set."""
        if kind is IdKind.REQUEST_ID:
            return replace(self, request_id=value)
        return replace(self, custom_parm=value)

    def __str__(self) -> str:
        return f"{self.account}:{self.request_id or self.custom_parm}"


def version_at(now: datetime) -> int:
    """The least version that a row written at this time has: the milliseconds since 1970.

    So neither a restored database, nor an order that was deleted and comes again, falls behind what a receiver holds.
    """
    return int(now.timestamp() * 1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One row of `recharge_orders`. Times are aware; amounts are yuan."""

    id: int
    account: str
    request_id: str | None = None
    custom_parm: str | None = None
    mobile: str | None = None
    expected_amount: Decimal | None = None
    state: OrderState = OrderState.PENDING
    traffic_sts: TrafficStatus | None = None
    remark: str | None = None
    ori_amount: Decimal | None = None
    amount_is_price: bool = False
    """Whether `ori_amount` of a failed order is its price, which the platform repeats, and no charge."""
    settled_by: Source | None = None
    attention: Attention | None = None
    submitted_at: datetime
    due_at: datetime
    """When the next query may poll it; while a query holds it, when its lease runs out."""
    queried_at: datetime | None = None
    """When the last answered query that polled it was sent."""
    query_count: int = 0
    """How many queries that polled it were answered."""
    settled_at: datetime | None = None
    created_at: datetime | None = None
    """When its row was made; never changes."""

    lane: Lane = Lane.BATCH
    age_bucket: int = 0
    """The bucket of its age at the last poll (`worker.domain.scheduling.ages_and_observations`); 0 before the first."""
    suspect_group: int | None = None
    lease_token: str | None = None
    """The token of the query that holds it."""
    check_requested_at: datetime | None = None
    """When somebody requested a check of it, or when a callback has it checked; None once it was polled."""
    absences: int = 0
    """Answered queries in a row that left it out: batches, or (lane `alone`) queries of its own."""
    absence_mark: int = 0
    """The account's count of answers with items at the last absence that counted alone."""
    batch_failures: int = 0
    """Queries in a row that polled it and ended unreadable, in a timeout or in an HTTP status not listed below."""
    unavailable_failures: int = 0
    """Queries in a row that polled it and ended in HTTP 401, 429 or 503, since these last made it a suspect."""
    failures_alone: int = 0
    """How often in a row a query of it alone failed, with an answer to others between each."""
    failure_mark: int = 0
    """The account's count of successful queries of its id kind at the last such failure."""
    failure_mark_any: int = 0
    """The same count for either id kind: it decides past the age limit."""
    denials: int = 0
    """How many answers said that the platform does not know it, as far as they count (`count_denial`)."""
    first_denied_at: datetime | None = None
    """When the query was sent whose answer was the first of them."""
    denial_mark: int = 0
    """The account's count of answers with a believed item at the last of them."""
    reopened_at: datetime | None = None
    """When an operator made it pending again. From then on it teaches nothing of when orders settle."""
    dismissed_at: datetime | None = None
    """When an operator cleared `too_old` of it: it is not flagged as overdue again."""
    callback_check_after: datetime | None = None
    """A callback that is only a hint and comes before then has it polled at that time (`poll_after_callback`)."""
    version: int = 0
    """Grows with every change that is saved: who is notified of two changes knows which is the later one."""

    def next_version(self, now: datetime) -> int:
        """Its version once a change of it is saved at this time, as the guarded UPDATE sets it."""
        return max(self.version + 1, version_at(now))

    @property
    def charged_amount(self) -> Decimal:
        """What was charged for it, once it is final."""
        return Decimal(0) if self.ori_amount is None or self.amount_is_price else self.ori_amount

    @property
    def age_limit_from(self) -> datetime:
        """When the time began that the age limit counts: its submission, or when it was reopened."""
        return self.reopened_at or self.submitted_at

    @property
    def key(self) -> OrderKey:
        """The order's names."""
        return OrderKey(account=self.account, request_id=self.request_id, custom_parm=self.custom_parm)

    @property
    def id_kind(self) -> IdKind:
        """The kind of id that it is polled by: the platform's number where it is known."""
        return IdKind.CUSTOM_PARM if self.request_id is None else IdKind.REQUEST_ID

    @property
    def polled_id(self) -> str:
        """The id that a query carries for it. Raises ValueError where it has none, which no row of the table may."""
        name = self.key.id_of(self.id_kind)
        if name is None:
            raise ValueError(f"order {self.id} has neither request_id nor custom_parm")
        return name

    def with_request_id(self, request_id: str | None) -> "Order":
        """The order with the platform's number, where it lacked one. What it has is never overwritten."""
        if self.request_id is not None or request_id is None:
            return self
        # It is polled by that id from now on: failures by the other id kind do not count as in a row with later ones.
        return replace(self, request_id=request_id, failures_alone=0, failure_mark=0, failure_mark_any=0)

    def not_denied(self) -> "Order":
        """The order once the platform has shown that it knows it: denials so far no longer count."""
        return self._with(denials=0, first_denied_at=None, denial_mark=0)

    def not_absent(self) -> "Order":
        """The order once an answer has named it: absences so far no longer count, and it joins batches again."""
        return self._with(absences=0, absence_mark=0, lane=Lane.BATCH)

    def out_of_suspicion(self) -> "Order":
        """The order without the marks of query failures, as after an answered query."""
        return self._with(
            lane=Lane.BATCH if self.lane.is_suspect else self.lane,
            suspect_group=None,
            batch_failures=0,
            unavailable_failures=0,
            failures_alone=0,
            failure_mark=0,
            failure_mark_any=0,
        )

    def no_longer_polled(self, state: OrderState, **others: Any) -> "Order":
        """The order in a state in which it is not polled: without lane, group, lease and check.

        `others` are further fields to change: a second copy would cost more than the whole decision about a callback.
        """
        return replace(
            self, state=state, lane=Lane.BATCH, suspect_group=None, lease_token=None, check_requested_at=None, **others
        )

    def _with(self, **values: Any) -> "Order":
        """The order with these values. Mostly it has them already, and a copy would take as long as the decision."""
        has_them = all(getattr(self, name) == value for name, value in values.items())
        return self if has_them else replace(self, **values)

    def is_leased(self, now: datetime) -> bool:
        """Whether a query holds it."""
        return self.lease_token is not None and self.due_at > now
