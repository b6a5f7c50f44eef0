"""Measured quantities and their targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured quantity: the values of several runs."""

    what: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    """None for a part of another figure."""
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


def table(figures: Sequence[Figure]) -> list[str]:
    """The figures as lines of text."""
    head = ("what", "unit", "runs", "min", "median", "max", "target", "ratio", "reached")
    return in_columns([head, *map(_row, figures)], left=2)


def in_columns(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """The rows of a table as lines of text; the first `left` columns begin at the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(figure: Figure) -> tuple[str, ...]:
    target = "" if figure.target is None else ("≥ " if figure.more_is_better else "≤ ") + _number(figure.target)
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    reached = {None: "", True: "yes", False: "NO"}[figure.is_reached]
    values = (min(figure.values), figure.middle, max(figure.values))
    return (figure.what, figure.unit, str(len(figure.values)), *map(_number, values), target, ratio, reached)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
