"""The figures of a period, for finance: how orders were settled, how long this took, and how much was charged.

A period consists of whole days in one time zone. A report counts the orders of a period, and a statement of the
platform is compared with the orders of a period. All amounts are in yuan.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from math import ceil
from typing import Any, NamedTuple

from worker.domain.records.orders import OrderState, Source
from worker.domain.records.sentences import Sentence


class Amounts(NamedTuple):
    """The amounts of one order."""

    due: Decimal | None
    """The amount that the billing system expects, or 0 if the recharge failed; None if the billing system stated no
    amount."""
    charged: Decimal | None
    """The amount charged, as stated by the platform or by the operator who settled the order; None if unknown, or if
    the order is not final yet."""

    @property
    def difference(self) -> Decimal | None:
        """The amount charged minus the amount due; None if either is unknown."""
        return None if self.charged is None or self.due is None else self.charged - self.due


def amounts_of(state: OrderState, expected: Decimal | None, named: Decimal | None, *, is_price: bool) -> Amounts:
    """Return the amounts of an order in this state. `named` is the amount that the operator stated, or that the
    platform stated beside its status. `is_price` means that `named` is a price and not a charge."""
    due = Decimal(0) if state is OrderState.FAILED else expected
    return Amounts(due, named if state.is_final and not is_price else None)


@dataclass(kw_only=True, slots=True)
class Sums:
    """The sums of the known amounts of some orders."""

    count: int = 0
    due: Decimal = Decimal(0)
    charged: Decimal = Decimal(0)
    difference: Decimal = Decimal(0)

    def add(self, amounts: Amounts) -> None:
        """Add the amounts of one order."""
        self.count += 1
        self.due += amounts.due or 0
        self.charged += amounts.charged or 0
        self.difference += amounts.difference or 0


_DAY = timedelta(days=1)
PERCENTILES = {"median": 50, "p95": 95, "p99": 99}
"""Maps the name of each percentile to its percentage."""

COUNTS = ("by_callback", "by_query", "by_hand", "callbacks_lost", "succeeded", "failed")
AMOUNTS = ("expected_amount", "without_expected_amount", "charged_amount", "mismatches", "unresolved")
SOURCES = {Source.CALLBACK: "callback", Source.QUERY: "query", Source.OPERATOR: "hand"}
"""Maps each source that settles orders to its name in the figures."""

# Delays of this length or more are rounded to whole seconds, so that a million delays take only a few megabytes.
_EXACT_BELOW_SECONDS = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledOrder:
    """A final order. Amounts are in yuan."""

    account: str
    state: OrderState
    settled_by: Source | None
    submitted_at: datetime
    settled_at: datetime
    expected_amount: Decimal | None
    charged_amount: Decimal | None
    """The amount charged, as stated by the platform or by the operator who settled the order. An echoed price is not a
    charge."""
    heard_callback: bool
    """Whether any callback about the order came, believed or not, before or after the order was settled. This is known
    only if a query settled the order; otherwise it is False."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnOrder:
    """An order of ours, to compare with a row of a statement."""

    id: int
    account: str
    request_id: str | None
    custom_parm: str | None
    state: OrderState
    charged_amount: Decimal | None
    echoed_price: Decimal | None = None
    """The amount that the platform stated for a failed order, if this amount is the order's price and not a charge."""
    at: datetime | None
    """When the order was submitted, or when it was settled: the time that decides whether the order is in the period.
    None if settlement decides and the order is not settled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatementRow:
    """One readable row of a platform's statement."""

    line: int
    """The line number in the file, from 1."""
    request_id: str
    state: OrderState
    """`succeeded`, `failed` or `pending`."""
    amount: Decimal | None
    """The amount in yuan; None if the row has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableRow:
    """A row of a statement that cannot be compared, and the reason."""

    line: int
    request_id: str
    """The request id of the row, whether it is valid or not."""
    why: Sentence


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """The days of a time zone from `first` to `last`, both included. Raises ValueError if `last` is earlier.

    A day begins at midnight in the zone. A day on which clocks are put forward or back has 23 or 25 hours.
    """

    first: date
    last: date
    zone: tzinfo
    days: Sequence[date] = field(init=False)
    _starts: Sequence[datetime] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compute when each day begins, in UTC."""
        count = (self.last - self.first).days + 1
        if count < 1:
            raise ValueError(f"the period ends on {self.last}, before it begins on {self.first}")
        days = [self.first + number * _DAY for number in range(count)]
        starts = [datetime.combine(day, time(), self.zone).astimezone(UTC) for day in [*days, self.last + _DAY]]
        object.__setattr__(self, "days", tuple(days))
        object.__setattr__(self, "_starts", tuple(starts))

    @property
    def start(self) -> datetime:
        """The first moment of the period, in UTC."""
        return self._starts[0]

    @property
    def end(self) -> datetime:
        """The first moment after the period, in UTC."""
        return self._starts[-1]

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in the period."""
        return self.start <= moment < self.end

    def day_of(self, moment: datetime) -> date:
        """Return the day to which a moment of the period belongs."""
        return self.days[bisect_right(self._starts, moment) - 1]


class Grouping(StrEnum):
    """How a report groups orders; each group gets a row."""

    DAY = "day"
    ACCOUNT = "account"


@dataclass(kw_only=True, slots=True)
class Delays:
    """Delays in seconds. They are rounded to a tenth of a second, or to a whole second from 100 seconds on."""

    _counts: Counter[float] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Count one delay. A negative delay counts as 0: it means that the order's submission time was ahead of the
        clock."""
        seconds = max(0.0, seconds)
        self._counts[round(seconds, 1) if seconds < _EXACT_BELOW_SECONDS else float(round(seconds))] += 1

    def percentiles(self) -> Mapping[str, float | None]:
        """Return each percentile of `PERCENTILES` by its name: the shortest delay that is not exceeded by that
        percentage of the orders. None if there are no delays."""
        return {name: self._percentile(percentage) for name, percentage in PERCENTILES.items()}

    def _percentile(self, percentage: int) -> float | None:
        rank = ceil(self._counts.total() * percentage / 100)
        for seconds in sorted(self._counts):
            rank -= self._counts[seconds]
            if rank <= 0:
                return seconds
        return None


@dataclass(kw_only=True, slots=True)
class Figures:
    """The figures of some orders. Amounts are in yuan."""

    by_callback: int = 0
    by_query: int = 0
    by_hand: int = 0
    callbacks_lost: int = 0
    """How many orders a query settled without any callback about them ever coming."""
    succeeded: int = 0
    failed: int = 0
    expected_amount: Decimal = Decimal(0)
    """The sum of the expected amounts of succeeded orders; orders without a stated amount add nothing."""
    without_expected_amount: int = 0
    """How many succeeded orders had no expected amount from the billing system."""
    charged_amount: Decimal = Decimal(0)
    """The sum of the amounts charged for all settled orders, including failed orders that were charged."""
    mismatches: int = 0
    """How many orders were charged another amount than expected, or were charged although they failed."""
    unresolved: int = 0
    delays: dict[Source, Delays] = field(default_factory=lambda: {source: Delays() for source in SOURCES})
    """The delays from an order's submission to its final state, by the source that settled the order."""

    def add(self, order: SettledOrder) -> None:
        """Count a final order."""
        match order.settled_by:
            case Source.CALLBACK:
                self.by_callback += 1
            case Source.QUERY:
                self.by_query += 1
                self.callbacks_lost += not order.heard_callback
            case Source.OPERATOR:
                self.by_hand += 1
        if order.settled_by in self.delays:
            self.delays[order.settled_by].add((order.settled_at - order.submitted_at).total_seconds())
        self._add_amounts(order)

    def as_row(self) -> dict[str, Any]:
        """Return the figures named in `COUNTS` and `AMOUNTS`, and then the delays in seconds, under names such as
        `query_delay_median_seconds`."""
        delays = {
            f"{word}_delay_{name}_seconds": seconds
            for source, word in SOURCES.items()
            for name, seconds in self.delays[source].percentiles().items()
        }
        return {**{name: getattr(self, name) for name in (*COUNTS, *AMOUNTS)}, **delays}

    def _add_amounts(self, order: SettledOrder) -> None:
        expected, charged = order.expected_amount, order.charged_amount
        self.charged_amount += charged or 0
        if order.state is OrderState.FAILED:
            self.failed += 1
            self.mismatches += bool(charged)
            return
        self.succeeded += 1
        if expected is None:
            self.without_expected_amount += 1
            return
        self.expected_amount += expected
        self.mismatches += charged is not None and charged != expected


@dataclass(kw_only=True, slots=True)
class Report:
    """The figures of a period, in total and for each day or account."""

    period: Period
    by: Grouping | None = None
    total: Figures = field(default_factory=Figures)
    rows: dict[str, Figures] = field(default_factory=dict)
    """The figures by day (ISO 8601, every day of the period) or by account; sorted once `count` has returned."""

    def count(self, settled: Iterable[SettledOrder], unresolved: Iterable[tuple[str, datetime]]) -> None:
        """Count the orders of the period. Each item of `unresolved` is (account, submission time) of an unresolved
        order."""
        if self.by is Grouping.DAY:
            self.rows = {day.isoformat(): Figures() for day in self.period.days}
        for order in settled:
            for figures in self._figures(order.account, order.settled_at):
                figures.add(order)
        for account, submitted_at in unresolved:
            for figures in self._figures(account, submitted_at):
                figures.unresolved += 1
        self.rows = dict(sorted(self.rows.items()))

    def _figures(self, account: str, moment: datetime) -> list[Figures]:
        if self.by is None:
            return [self.total]
        key = account if self.by is Grouping.ACCOUNT else self.period.day_of(moment).isoformat()
        if key not in self.rows:
            self.rows[key] = Figures()
        return [self.total, self.rows[key]]
