"""What was measured, beside what is to be reached."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured quantity: the values of several runs."""

    what: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    """None for a part of another figure, which is shown for itself."""
    more_is_better: bool = False
    bound_by: str = ""
    """What the figure depends on most."""

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median over the target."""
        return None if self.target is None else self.middle / self.target

    @property
    def is_reached(self) -> bool | None:
        """Whether the median reaches the target; None without one."""
        if self.ratio is None:
            return None
        return self.ratio >= 1 if self.more_is_better else self.ratio <= 1

    def as_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        return {
            "what": self.what,
            "unit": self.unit,
            "runs": len(self.values),
            "min": min(self.values),
            "median": self.middle,
            "max": max(self.values),
            "target": self.target,
            "ratio": self.ratio,
            "reached": self.is_reached,
            "bound_by": self.bound_by,
        }


def milliseconds(seconds: list[float]) -> tuple[float, ...]:
    """Seconds as milliseconds."""
    return tuple(1000 * value for value in seconds)
