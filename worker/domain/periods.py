"""A period of whole days in one time zone, as finance counts."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_DAY = timedelta(days=1)


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
