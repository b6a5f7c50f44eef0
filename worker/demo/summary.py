"""The comparison at the end: each order here against the platform's truth, and what the queries were used for. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from worker.demo.readings import OrderLine, PlatformRecord, Truth
from worker.domain.records.orders import Attention, OrderState, Source

IDS_PER_QUERY = 100


class Finding(StrEnum):
    """How an order here compares with the platform's truth."""

    AGREED = "agreed"
    """Settled here as there, with the same amount."""
    BOTH_PENDING = "both_pending"
    """Still recharging there, still polled here."""
    GIVEN_UP = "given_up"
    """The platform does not know it; here it is unresolved, for a person to decide."""
    NOT_YET_GIVEN_UP = "not_yet_given_up"
    """The platform does not know it; here it is still polled."""
    NOT_YET_SETTLED = "not_yet_settled"
    """Settled there, not yet here."""
    WRONG = "wrong"
    """Anything else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An order that a person should look at, with a remark of the demo."""

    request_id: str
    state: str
    reason: str
    remark: str
    is_planned: bool
    """Whether the platform's truth explains it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryUse:
    """What the queries were spent on."""

    used: int
    first: int
    """Queries that polled an order for the first time."""
    again: int
    """Queries that polled only orders that an earlier query had polled."""
    alone: int
    """Of those: queries that polled one order alone, which earlier answers had left out."""
    lost_and_settled: int
    """Orders that only a query could settle."""

    @property
    def least(self) -> int:
        """The least number of queries that any program would need."""
        return math.ceil(self.lost_and_settled / IDS_PER_QUERY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The demo's result."""

    findings: Mapping[Finding, int]
    states: Mapping[OrderState, int]
    settled_by: Mapping[Source, int]
    wrong: tuple[str, ...]
    """Ids of wrong orders, and of those not yet settled."""
    cases: tuple[Case, ...]
    queries: QueryUse
    record: PlatformRecord
    window: float
    seconds: float
    timed_out: bool

    @property
    def orders(self) -> int:
        """How many orders were compared."""
        return sum(self.findings.values())

    @property
    def is_good(self) -> bool:
        """Whether no order is wrong or late, no rule of the platform was broken, and every warning has its reason."""
        bad = self.findings.get(Finding.WRONG, 0) + self.findings.get(Finding.NOT_YET_SETTLED, 0)
        return not bad and not self.record.violations and all(case.is_planned for case in self.cases)


def compare(truth: Truth, order: OrderLine | None) -> Finding:
    """Compare one order with its truth."""
    if order is None:
        return Finding.WRONG
    if truth.unknown or not truth.settled:
        is_given_up = order.state is OrderState.UNRESOLVED and order.attention is Attention.UNKNOWN_TO_PLATFORM
        if order.state is OrderState.PENDING:
            return Finding.NOT_YET_GIVEN_UP if truth.unknown else Finding.BOTH_PENDING
        return Finding.GIVEN_UP if truth.unknown and is_given_up else Finding.WRONG
    if order.state is OrderState.PENDING:
        return Finding.NOT_YET_SETTLED
    expected = OrderState.SUCCEEDED if truth.outcome == "1" else OrderState.FAILED
    is_same = order.state is expected and order.ori_amount == Decimal(truth.amount)
    return Finding.AGREED if is_same and not _lacks_warning(truth, order) else Finding.WRONG


def summarise(
    truths: Sequence[Truth],
    orders: Mapping[str, OrderLine],
    record: PlatformRecord,
    *,
    window: float,
    seconds: float,
    timed_out: bool,
) -> Summary:
    """Compare everything. `orders` by request_id; `seconds` is how long the demo took so far."""
    findings = {truth.request_id: compare(truth, orders.get(truth.request_id)) for truth in truths}
    bad = (Finding.WRONG, Finding.NOT_YET_SETTLED)
    cases = (_case(truth, orders[truth.request_id]) for truth in truths if truth.request_id in orders)
    return Summary(
        findings=Counter(findings.values()),
        states=Counter(order.state for order in orders.values()),
        settled_by=Counter(order.settled_by for order in orders.values() if order.settled_by),
        wrong=tuple(name for name, finding in findings.items() if finding in bad),
        cases=tuple(case for case in cases if case is not None),
        queries=_use(truths, record),
        record=record,
        window=window,
        seconds=seconds,
        timed_out=timed_out,
    )


def _is_overcharged(truth: Truth, order: OrderLine) -> bool:
    return truth.settled and order.expected_amount != Decimal(truth.amount) and truth.outcome == "1"


def _lacks_warning(truth: Truth, order: OrderLine) -> bool:
    return _is_overcharged(truth, order) and order.attention is not Attention.AMOUNT_MISMATCH


def _case(truth: Truth, order: OrderLine) -> Case | None:
    if order.attention is None:
        return None
    remark, is_planned = "nothing in the platform's truth explains this", False
    if order.attention is Attention.AMOUNT_MISMATCH and _is_overcharged(truth, order):
        remark, is_planned = f"expected {order.expected_amount:.2f}, the platform charged {truth.amount}", True
    if order.attention is Attention.UNKNOWN_TO_PLATFORM and truth.unknown:
        remark, is_planned = (
            f"{order.query_count} answered queries left it out, the last ones polled it alone",
            True,
        )
    return Case(
        request_id=order.request_id,
        state=order.state.value,
        reason=order.attention.value,
        remark=remark,
        is_planned=is_planned,
    )


def _use(truths: Sequence[Truth], record: PlatformRecord) -> QueryUse:
    seen: set[str] = set()
    first = alone = 0
    for ids in record.queries:
        if not seen.issuperset(ids):
            first += 1
        elif len(ids) == 1:
            alone += 1
        seen.update(ids)
    return QueryUse(
        used=len(record.queries),
        first=first,
        again=len(record.queries) - first,
        alone=alone,
        lost_and_settled=sum(truth.settled and truth.callback == "lost" for truth in truths),
    )
