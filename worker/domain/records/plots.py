"""What the plots of the overview show: figures by span of time, and the queries that were sent last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Span(StrEnum):
    """How far back the plots go."""

    HOUR = "1h"
    DAY = "24h"

    @property
    def lasts(self) -> timedelta:
        """Its length."""
        return timedelta(hours=1) if self is Span.HOUR else timedelta(days=1)

    @property
    def bucket(self) -> timedelta:
        """The length of each of the equal parts that its figures are counted in."""
        return timedelta(minutes=1) if self is Span.HOUR else timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class SentQuery:
    """A row of `platform_queries`, as far as the plots need it."""

    id: int
    sent_at: datetime
    order_count: int
    outcome: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """What happened to orders in each bucket, the earliest first."""

    submitted: Sequence[int]
    succeeded: Sequence[int]
    failed: Sequence[int]
    stopped: Sequence[int]
    """Orders that became unresolved or were cancelled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """How long one order took."""

    seconds: float
    """From its submission to its final state."""
    source: str
    """What settled it, by the stored word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plots:
    """All that is plotted, at `now` by the database's clock. Each sequence of figures has a figure for each bucket."""

    now: datetime
    span: Span
    starts: Sequence[datetime]
    """When each bucket begins; the last one is not over yet."""
    passed: Passed
    pending: int
    """Now."""
    due: int
    """Now."""
    backlog: Sequence[int]
    """Pending orders at the end of each bucket; the last figure is that of now."""
    delays: Mapping[str, Sequence[int]]
    """By source, how many of the last settled orders took how long: a figure for each of `plot_series.DELAY_LIMITS`,
    and one more for those that took longer."""
    queries: Sequence[int]
    """Sent, of all accounts."""
    query_orders: Sequence[int]
    """Orders in them."""
    allowed: float
    """Queries that the limit allows in a bucket."""
    batch_size: int
    """Orders that a query holds at most."""
    last_queries: Sequence[SentQuery]
    """The earliest first."""
