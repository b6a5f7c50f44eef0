"""The charts of the overview, drawn as SVG on the server. This module decides which figures of `Plots` each chart
shows, its words, and all positions. `console/plot.html` has the markup; `static/plots.css` has the colours, by class.

A chart is 400 units wide, so that its texts are readable at the width of a phone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from worker.domain.monitoring.plots import DELAY_LIMITS, Plots
from worker.domain.records.orders import Source
from worker.web.console.translations import text
from worker.words import N_

WIDTH, HEIGHT = 400, 180
LEFT, RIGHT, TOP, BOTTOM = 44, WIDTH - 8, 10, HEIGHT - 22
"""The positions of the axes."""
_MOST_GAP = 2.0
# The bar of any figure above zero has at least this height, so that it can be seen and pointed at.
_LEAST_HEIGHT = 1.5
_STEPS = (1.0, 2.0, 5.0, 10.0)
_TICKS = 4
_DELAY_NAMES = (*(N_("1 min"), N_("2 min"), N_("5 min"), N_("10 min"), N_("30 min"), N_("1 h"), N_("6 h"), N_("24 h")),)
_SOURCES = {
    Source.CALLBACK: N_("by callback"),
    Source.QUERY: N_("by query"),
    Source.OPERATOR: N_("by hand"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A series of figures, one for each bar."""

    name: str
    kind: str
    """The CSS class that decides the colour of the series."""
    values: Sequence[float]


class Rect(NamedTuple):
    """The rectangle that is drawn for one part of a stacked bar."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """The contents of a chart. Names and labels are words in the reader's language."""

    key: str
    """The name of the chart, unique on its page; letters only."""
    title: str
    description: str
    across: str
    """The meaning of the labels of the bars, such as the time at which each begins."""
    labels: Sequence[str]
    """The label of each bar."""
    ticks: Sequence[int]
    """The bars whose labels are shown below the axis."""
    bars: Sequence[Series]
    """The series that are stacked to make the bars; the lowest first."""
    line: Series | None = None
    """A series that is drawn as a line over the bars, with a step for each bar."""
    note: str = ""
    """A sentence below the chart."""

    @property
    def columns(self) -> list[Series]:
        """The columns of the table that shows the same figures beside the chart."""
        return [*self.bars, *([] if self.line is None else [self.line])]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """The names of all series, with the class of each."""
        return [(one.name, one.kind) for one in self.columns]

    @property
    def top(self) -> float:
        """The upper end of the axis: 1, 2 or 5 times a power of ten, not below any figure."""
        stacked = [sum(one.values[bar] for one in self.bars) for bar in range(len(self.labels))]
        return nice_top(max([*stacked, *([] if self.line is None else self.line.values)], default=0.0))

    @property
    def width(self) -> float:
        """The width of a bar together with its gap."""
        return (RIGHT - LEFT) / max(1, len(self.labels))

    def x(self, bar: float) -> float:
        """The left edge of the bar with the index `bar`. `bar + 0.5` gives the middle of this bar."""
        return round(LEFT + bar * self.width, 1)

    def y(self, value: float) -> float:
        """The vertical position at which a figure is drawn."""
        return round(BOTTOM - (BOTTOM - TOP) * min(value, self.top) / self.top, 1)

    def said(self, bar: int) -> str:
        """The figures of a bar in words."""
        return text(", ").join(f"{one.name} {figure_text(one.values[bar])}" for one in self.columns)

    def rects(self, bar: int) -> Iterator[Rect]:
        """The rectangles of a bar, the lowest first."""
        gap, below = min(_MOST_GAP, self.width / 4), 0.0
        for one in self.bars:
            value = one.values[bar]
            if value > 0:
                height = max(_LEAST_HEIGHT, self.y(below) - self.y(below + value))
                yield Rect(
                    one.kind,
                    self.x(bar + gap / 2 / self.width),
                    round(self.y(below) - height, 1),
                    round(self.width - gap, 1),
                    round(height, 1),
                )
            below += value


def nice_top(most: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, ... that is not below a figure."""
    if most <= 1:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in _STEPS if step * power >= most)


def frame() -> dict[str, object]:
    """The variables that the template of a chart needs in addition to the chart."""
    return {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "figure": figure_text}


def figure_text(value: float) -> str:
    """A figure without decimals."""
    return f"{value:,.0f}"


def charts_of(plots: Plots, zone: ZoneInfo) -> list[Chart]:
    """All charts, in the language of the request. Times are shown in `zone`."""
    return [_states(plots, zone), _backlog(plots, zone), _delays(plots)]


def _states(plots: Plots, zone: ZoneInfo) -> Chart:
    return _over_time(
        plots,
        zone,
        key="states",
        title=text("Orders submitted and settled"),
        description=text("Bars: orders that succeeded and failed. Line: orders that were submitted."),
        bars=[
            Series(name=text("Succeeded"), kind="succeeded", values=plots.succeeded),
            Series(name=text("Failed"), kind="failed", values=plots.failed),
        ],
        line=Series(name=text("Orders submitted"), kind="submitted", values=plots.submitted),
        note=text(
            "Submitted: %(submitted)s. Succeeded: %(succeeded)s. Failed: %(failed)s.",
            sum(plots.submitted),
            sum(plots.succeeded),
            sum(plots.failed),
        ),
    )


def _backlog(plots: Plots, zone: ZoneInfo) -> Chart:
    return _over_time(
        plots,
        zone,
        key="backlog",
        title=text("Backlog"),
        description=text("Orders without a result at each time."),
        bars=[Series(name=text("Pending"), kind="pending", values=plots.backlog)],
        note=text("Pending now: %(pending)s. Due now: %(due)s.", plots.pending, plots.due),
    )


def _delays(plots: Plots) -> Chart:
    none = [0] * (len(DELAY_LIMITS) + 1)
    count = sum(sum(values) for values in plots.delays.values())
    return Chart(
        key="delays",
        title=text("From submission to the final state"),
        description=text("How long the orders took that were settled last, and what settled them."),
        across=text("Up to"),
        labels=[*(text(name) for name in _DELAY_NAMES), text("longer")],
        ticks=range(len(_DELAY_NAMES) + 1),
        bars=[
            Series(name=text(words), kind=source.value, values=plots.delays.get(source, none))
            for source, words in _SOURCES.items()
        ],
        note=text("Of the last %(count)s settled orders.", count),
    )


def _over_time(plots: Plots, zone: ZoneInfo, **described: Any) -> Chart:
    labels = [f"{start.astimezone(zone):%H:%M}" for start in plots.starts]
    return Chart(across=text("From"), labels=labels, ticks=range(0, len(labels), len(labels) // _TICKS), **described)
