"""Charts as SVG, drawn on the server: where everything stands. `console/plot.html` is the markup; colours are classes
of `static/plots.css`.

A chart is 400 units wide, so that its texts are readable at the width of a phone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH, HEIGHT = 400, 180
LEFT, RIGHT, TOP, BOTTOM = 44, WIDTH - 8, 10, HEIGHT - 22
"""Where the axes are."""
_MOST_GAP = 2.0
# What is more than nothing can be seen, and pointed at.
_LEAST_HEIGHT = 1.5
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One figure for each bar."""

    name: str
    kind: str
    """The class that its colour follows from."""
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A line across the chart, such as a limit."""

    name: str
    kind: str
    value: float


class Rect(NamedTuple):
    """A part of a bar, as it is drawn."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """What is drawn. Names and labels are words in the reader's language."""

    key: str
    """Distinguishes it from the other charts of a page; letters only."""
    title: str
    description: str
    across: str
    """What a bar stands for, such as a time."""
    labels: Sequence[str]
    """Of each bar."""
    ticks: Sequence[int]
    """The bars whose labels stand below the axis."""
    bars: Sequence[Series]
    """Stacked, the lowest first."""
    told: Sequence[Series] = ()
    """The figures in words, where these are others than those that are drawn."""
    line: Series | None = None
    """Drawn over the bars, a step for each."""
    level: Level | None = None
    links: Sequence[str] = ()
    """Where each bar leads; none: nowhere."""
    kinds: Sequence[str] = ()
    """The class of each bar, in place of that of its series."""
    kind_names: Sequence[tuple[str, str]] = ()
    """What these classes mean: names and classes."""
    note: str = ""
    """A sentence below the chart."""

    @property
    def columns(self) -> list[Series]:
        """The figures in words, as the table beside the chart shows them."""
        return list(self.told) or self._drawn

    @property
    def _drawn(self) -> list[Series]:
        return [*self.bars, *([] if self.line is None else [self.line])]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """The names of what is drawn, with the class of each."""
        drawn = list(self.kind_names) if self.kinds else [(one.name, one.kind) for one in self._drawn]
        return drawn + ([] if self.level is None else [(self.level.name, self.level.kind)])

    @property
    def top(self) -> float:
        """The upper end of the axis: 1, 2 or 5 times a power of ten, above every figure."""
        stacked = [sum(one.values[bar] for one in self.bars) for bar in range(len(self.labels))]
        others = [*([] if self.line is None else self.line.values), 0.0 if self.level is None else self.level.value]
        return nice_top(max([*stacked, *others], default=0.0))

    @property
    def width(self) -> float:
        """How much room a bar has."""
        return (RIGHT - LEFT) / max(1, len(self.labels))

    def x(self, bar: float) -> float:
        """Where a bar begins; half a bar further is its middle."""
        return round(LEFT + bar * self.width, 1)

    def y(self, value: float) -> float:
        """How high a figure stands."""
        return round(BOTTOM - (BOTTOM - TOP) * min(value, self.top) / self.top, 1)

    def said(self, bar: int) -> str:
        """The figures of a bar in words."""
        return ", ".join(f"{one.name} {figure_text(one.values[bar])}" for one in self.columns)

    def rects(self, bar: int) -> Iterator[Rect]:
        """The parts of a bar, the lowest first."""
        gap, below = min(_MOST_GAP, self.width / 4), 0.0
        for one in self.bars:
            value = one.values[bar]
            if value > 0:
                height = max(_LEAST_HEIGHT, self.y(below) - self.y(below + value))
                yield Rect(
                    self.kinds[bar] if self.kinds else one.kind,
                    self.x(bar + gap / 2 / self.width),
                    round(self.y(below) - height, 1),
                    round(self.width - gap, 1),
                    round(height, 1),
                )
            below += value


def nice_top(most: float) -> float:
    """The least of 1, 2, 5, 10, 20, ... that is not below a figure."""
    if most <= 1:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in _STEPS if step * power >= most)


def frame() -> dict[str, object]:
    """What the template needs besides a chart."""
    return {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "figure": figure_text}


def figure_text(value: float) -> str:
    """A figure without needless digits."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
