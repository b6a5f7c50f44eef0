"""Orders: their ids, states, lanes and reasons for attention."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any


class OrderState(StrEnum):
    """The states of an order. `pending` orders are polled, and `unresolved` orders once more after some callbacks."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    """Final: the platform reported status 1 with an amount, or an operator recorded a success."""
    FAILED = "failed"
    """Final: the platform reported status -1 for an order that it knows, or an operator recorded a failure."""
    UNRESOLVED = "unresolved"
    """Polling stopped, and a person decides. An answer or a callback may still settle the order."""
    CANCELLED = "cancelled"
    """The billing system has dealt with the order. This state never changes by itself."""

    @property
    def is_final(self) -> bool:
        """Whether the order is settled, by evidence or by an operator."""
        return self in (OrderState.SUCCEEDED, OrderState.FAILED)

    @property
    def may_settle(self) -> bool:
        """Whether an answer or a callback may still settle the order."""
        return self in (OrderState.PENDING, OrderState.UNRESOLVED)


class Attention(StrEnum):
    """Why a person should look at an order, the gravest reason first.

    An order's row has only the gravest of its reasons; the order's events have all of them.
    """

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
    """Return the gravest of these reasons, which is the one that an order's row stores; None if there is no reason."""
    return min((reason for reason in reasons if reason is not None), key=_GRAVITY.__getitem__, default=None)


class Source(StrEnum):
    """The source of a change."""

    QUERY = "query"
    CALLBACK = "callback"
    ENQUEUE = "enqueue"
    BILLING = "billing"
    """The cancel and check tasks of the billing system."""
    OPERATOR = "operator"
    WORKER = "worker"
    """The worker itself, because of the order's age."""


class Lane(StrEnum):
    """How an order is polled."""

    BATCH = "batch"
    ALONE = "alone"
    """The order is polled in a query of its own, for example because three answers in a row left it out."""
    SUSPECT = "suspect"
    """The order was in a failed query. Until a query that polls it is answered, it is polled only with its group."""
    LONE_SUSPECT = "lone_suspect"
    """The order is the only suspect of its group. It is polled after the groups of two or more."""

    @property
    def is_suspect(self) -> bool:
        """Whether an order in this lane is a suspect: it joins no batch until a query that polls it is answered."""
        return self in (Lane.SUSPECT, Lane.LONE_SUSPECT)

    @property
    def is_apart(self) -> bool:
        """Whether an order in this lane joins no batch, for any reason."""
        return self is not Lane.BATCH


class IdKind(StrEnum):
    """The two kinds of id by which the platform knows an order. The values are the field names in a request."""

    REQUEST_ID = "requestId"
    CUSTOM_PARM = "customParm"


class TrafficStatus(IntEnum):
    """The values of the platform's `trafficSts`. An order's row stores the number; an answer's item has it as text."""

    RECHARGED = 1
    FAILED = -1
    RECHARGING = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderKey:
    """The name of an order outside the worker: its account and at least one of its two ids."""

    account: str
    request_id: str | None = None
    custom_parm: str | None = None

    def id_of(self, kind: IdKind) -> str | None:
        """The id of one kind; None if the order has none."""
        return self.request_id if kind is IdKind.REQUEST_ID else self.custom_parm

    def with_id(self, kind: IdKind, value: str) -> "OrderKey":
        """Return the key with an id of one kind set."""
        if kind is IdKind.REQUEST_ID:
            return replace(self, request_id=value)
        return replace(self, custom_parm=value)

    def __str__(self) -> str:
        return f"{self.account}:{self.request_id or self.custom_parm}"


def version_at(now: datetime) -> int:
    """The lowest version that a row gets if it is written at this time: the milliseconds since 1970.

    Because time advances, a new version is higher than any that a receiver has. This is so even if the database was
    restored, or if an order was deleted and then submitted again.
    """
    return int(now.timestamp() * 1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One row of `recharge_orders`. Times are aware; amounts are in yuan."""

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
    """Whether the order failed and `ori_amount` is not a charge but the price, which the platform repeats."""
    settled_by: Source | None = None
    attention: Attention | None = None
    submitted_at: datetime
    due_at: datetime
    """When the next query may poll the order. While a query holds the order, this is the end of the lease."""
    queried_at: datetime | None = None
    """When the last answered query that polled the order was sent."""
    query_count: int = 0
    """The number of answered queries that polled the order."""
    settled_at: datetime | None = None
    created_at: datetime | None = None
    """When the row was created. It never changes."""

    lane: Lane = Lane.BATCH
    age_bucket: int = 0
    """The bucket of the order's age at the last poll; 0 before the first poll.

    `worker.domain.scheduling.ages_and_observations` defines the buckets.
    """
    suspect_group: int | None = None
    lease_token: str | None = None
    """The token of the query that holds the order; None if none does."""
    check_requested_at: datetime | None = None
    """When a check was requested, or when a poll that a callback caused is due; None once the order was polled."""
    absences: int = 0
    """How many answers in a row left the order out.

    They are answers to batches or, in lane `alone`, answers to queries of this order only.
    """
    absence_mark: int = 0
    """The account's `answered_with_items` when `absences` last counted an answer to a query of this order only."""
    batch_failures: int = 0
    """How many queries of the order in a row ended with an unreadable answer, a timeout or an HTTP error.

    HTTP 401, 429 and 503 do not count here.
    """
    unavailable_failures: int = 0
    """How many queries of the order in a row got HTTP 401, 429 or 503.

    The count restarts at 0 when such failures make the order a suspect.
    """
    failures_alone: int = 0
    """How many queries of this order only failed in a row.

    After the first, a failure counts only if other queries were answered since the last counted failure.
    """
    failure_mark: int = 0
    """How many answered queries by the order's id kind the account had when `failures_alone` last grew."""
    failure_mark_any: int = 0
    """How many answered queries by either id kind the account had when `failures_alone` last grew.

    Past the age limit, this is used instead of `failure_mark`.
    """
    denials: int = 0
    """How many answers said that there is no such order. `count_denial` decides which of them count."""
    first_denied_at: datetime | None = None
    """When the query with the first counted denial was sent."""
    denial_mark: int = 0
    """The account's `answered_with_belief` when `denials` last grew."""
    reopened_at: datetime | None = None
    """When an operator made the order pending again. Since then the order is not used to learn when orders settle."""
    dismissed_at: datetime | None = None
    """When an operator dismissed the attention `too_old`. After that, the order is not flagged as overdue again."""
    callback_check_after: datetime | None = None
    """The earliest time at which a callback that is only a hint may have the order polled (`poll_after_callback`)."""
    version: int = 0
    """A number that grows with every saved change, so that the receiver of two notifications knows which is later."""

    def next_version(self, now: datetime) -> int:
        """The version that the order gets if a change is saved at this time."""
        return max(self.version + 1, version_at(now))

    @property
    def charged_amount(self) -> Decimal:
        """The amount charged for an order that is final; 0 if nothing was charged."""
        return Decimal(0) if self.ori_amount is None or self.amount_is_price else self.ori_amount

    @property
    def age_limit_from(self) -> datetime:
        """The time from which the age limit counts: when the order was reopened, or else submitted."""
        return self.reopened_at or self.submitted_at

    @property
    def key(self) -> OrderKey:
        """The key of the order."""
        return OrderKey(account=self.account, request_id=self.request_id, custom_parm=self.custom_parm)

    @property
    def id_kind(self) -> IdKind:
        """The kind of id that queries use for the order: the platform's requestId if known, or else customParm."""
        return IdKind.CUSTOM_PARM if self.request_id is None else IdKind.REQUEST_ID

    @property
    def polled_id(self) -> str:
        """The id that queries use for the order. Raises ValueError if it has none, which the table does not allow."""
        name = self.key.id_of(self.id_kind)
        if name is None:
            raise ValueError(f"order {self.id} has neither request_id nor custom_parm")
        return name

    def with_request_id(self, request_id: str | None) -> "Order":
        """Return the order with this requestId if it had none. An existing requestId is never overwritten."""
        if self.request_id is not None or request_id is None:
            return self
        # From now on the order is polled by requestId. So failures of queries by customParm no longer count.
        return replace(self, request_id=request_id, failures_alone=0, failure_mark=0, failure_mark_any=0)

    def not_denied(self) -> "Order":
        """Return the order without denials, because the platform has shown that it knows the order."""
        return self._with(denials=0, first_denied_at=None, denial_mark=0)

    def not_absent(self) -> "Order":
        """Return the order without absences and in the batch lane, because an answer has named it."""
        return self._with(absences=0, absence_mark=0, lane=Lane.BATCH)

    def out_of_suspicion(self) -> "Order":
        """Return the order as an answered query leaves it: no suspect, and without counted failures."""
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
        """Return the order in `state`, in which it is not polled: in the batch lane, without group, lease and check.

        `others` are further fields, set in the same copy. A second copy would take longer than the whole decision about
        a callback.
        """
        return replace(
            self, state=state, lane=Lane.BATCH, suspect_group=None, lease_token=None, check_requested_at=None, **others
        )

    def _with(self, **values: Any) -> "Order":
        """Return the order with these values; the same object, and no copy, if it has them already.

        An order usually has them, and a copy would take as long as the decision that sets them.
        """
        has_them = all(getattr(self, name) == value for name, value in values.items())
        return self if has_them else replace(self, **values)

    def is_leased(self, now: datetime) -> bool:
        """Whether a query holds the order."""
        return self.lease_token is not None and self.due_at > now
