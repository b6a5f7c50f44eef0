"""The figures of a period, for finance: how orders were settled, after how long, and for how much.

A period is one of whole days in one time zone. A report counts its rows, and a statement is compared with them. What
single orders should cost and what they did cost, in yuan, stands first.
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
    """What it should cost: what the billing system expects, and nothing where the recharge failed. None: it did not
    say."""
    charged: Decimal | None
    """What the platform, or the operator who settled it, said it charged. None: not known, or not final yet."""

    @property
    def difference(self) -> Decimal | None:
        """By how much was charged more than was due; None where either is not known."""
        return None if self.charged is None or self.due is None else self.charged - self.due


def amounts_of(state: OrderState, expected: Decimal | None, named: Decimal | None, *, is_price: bool) -> Amounts:
    """The amounts of an order in this state; `named` is the amount that the platform named beside its status, or the
    operator, and `is_price` says that it is no charge."""
    due = Decimal(0) if state is OrderState.FAILED else expected
    return Amounts(due, named if state.is_final and not is_price else None)


@dataclass(kw_only=True, slots=True)
class Sums:
    """The amounts of some orders, as far as they are known."""

    count: int = 0
    due: Decimal = Decimal(0)
    charged: Decimal = Decimal(0)
    difference: Decimal = Decimal(0)

    def add(self, amounts: Amounts) -> None:
        """Count one more."""
        self.count += 1
        self.due += amounts.due or 0
        self.charged += amounts.charged or 0
        self.difference += amounts.difference or 0


_DAY = timedelta(days=1)
PERCENTILES = {"median": 50, "p95": 95, "p99": 99}
"""Name of each, and its percentage."""

COUNTS = ("by_callback", "by_query", "by_hand", "callbacks_lost", "succeeded", "failed")
AMOUNTS = ("expected_amount", "without_expected_amount", "charged_amount", "mismatches", "unresolved")
SOURCES = {Source.CALLBACK: "callback", Source.QUERY: "query", Source.OPERATOR: "hand"}
"""What the figures call those that settle orders."""

# So that a million delays take a few megabytes.
_EXACT_BELOW_SECONDS = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledOrder:
    """A final order. Amounts are yuan."""

    account: str
    state: OrderState
    settled_by: Source | None
    submitted_at: datetime
    settled_at: datetime
    expected_amount: Decimal | None
    charged_amount: Decimal | None
    """What the platform, or the operator who settled it, said it charged. An echoed price is no charge."""
    heard_callback: bool
    """Whether a callback about it ever came, before or after it settled, believed or not. Only known of an order that
    a query has settled; else False."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnOrder:
    """An order of ours, as it is compared with a row of a statement."""

    id: int
    account: str
    request_id: str | None
    custom_parm: str | None
    state: OrderState
    charged_amount: Decimal | None
    echoed_price: Decimal | None = None
    """Of a failed order: the amount that the platform named beside it, where that is its price and no charge."""
    at: datetime | None
    """The time by which the period selects: of its submission, or when it was settled (None: it is not)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatementRow:
    """One row of a platform's statement that can be read."""

    line: int
    """Of the file, from 1."""
    request_id: str
    state: OrderState
    """`succeeded`, `failed` or `pending`."""
    amount: Decimal | None
    """In yuan; None where the row has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableRow:
    """One row of a statement that cannot be compared, and why."""

    line: int
    request_id: str
    """As it stands there."""
    why: Sentence


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """The days from `first` to `last`, both included, as a zone counts them. Raises ValueError where `last` is earlier.

    A day begins at the zone's midnight: where clocks are put forward or back, it has 23 or 25 hours.
    """

    first: date
    last: date
    zone: tzinfo
    days: Sequence[date] = field(init=False)
    _starts: Sequence[datetime] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out where each day begins, in UTC."""
        count = (self.last - self.first).days + 1
        if count < 1:
            raise ValueError(f"the period ends on {self.last}, before it begins on {self.first}")
        days = [self.first + number * _DAY for number in range(count)]
        starts = [datetime.combine(day, time(), self.zone).astimezone(UTC) for day in [*days, self.last + _DAY]]
        object.__setattr__(self, "days", tuple(days))
        object.__setattr__(self, "_starts", tuple(starts))

    @property
    def start(self) -> datetime:
        """Its first moment, in UTC."""
        return self._starts[0]

    @property
    def end(self) -> datetime:
        """The first moment after it, in UTC."""
        return self._starts[-1]

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in the period."""
        return self.start <= moment < self.end

    def day_of(self, moment: datetime) -> date:
        """The day that a moment of the period is on."""
        return self.days[bisect_right(self._starts, moment) - 1]


class Grouping(StrEnum):
    """What a report has a row for."""

    DAY = "day"
    ACCOUNT = "account"


@dataclass(kw_only=True, slots=True)
class Delays:
    """Delays in seconds: to a tenth of a second, from 100 seconds on to a second."""

    _counts: Counter[float] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Count one more. A submission ahead of the clock counts as no delay."""
        seconds = max(0.0, seconds)
        self._counts[round(seconds, 1) if seconds < _EXACT_BELOW_SECONDS else float(round(seconds))] += 1

    def percentiles(self) -> Mapping[str, float | None]:
        """For each of `PERCENTILES` the least delay that so many percent of the orders do not exceed."""
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
    """What some orders come to. Amounts are yuan."""

    by_callback: int = 0
    by_query: int = 0
    by_hand: int = 0
    callbacks_lost: int = 0
    """Settled by a query, and no callback ever came."""
    succeeded: int = 0
    failed: int = 0
    expected_amount: Decimal = Decimal(0)
    """Of succeeded orders, as far as the billing system said what it expects."""
    without_expected_amount: int = 0
    """Succeeded orders of which it did not."""
    charged_amount: Decimal = Decimal(0)
    """Of all that were settled: a failed order that was charged counts, too."""
    mismatches: int = 0
    """Charged otherwise than expected, or charged although failed."""
    unresolved: int = 0
    delays: dict[Source, Delays] = field(default_factory=lambda: {source: Delays() for source in SOURCES})
    """From an order's submission to its final state, by what settled it."""

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
        """`COUNTS` and `AMOUNTS`, then the delays in seconds, as `query_delay_median_seconds`."""
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
    """The figures of a period, and of its days or accounts."""

    period: Period
    by: Grouping | None = None
    total: Figures = field(default_factory=Figures)
    rows: dict[str, Figures] = field(default_factory=dict)
    """By day (ISO 8601; every day of the period is there) or account, in order once all is counted."""

    def count(self, settled: Iterable[SettledOrder], unresolved: Iterable[tuple[str, datetime]]) -> None:
        """Count the orders of the period. Of unresolved ones: their account, and when they were submitted."""
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
