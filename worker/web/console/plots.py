"""Charts as SVG, drawn on the server: figures in, markup out. Colours are classes of `static/plots.css`.

A chart is 400 units wide, so that its texts are readable at the width of a phone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 400, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 22
_INNER_WIDTH, _INNER_HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_MOST_GAP = 2.0
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


def nice_top(most: float) -> float:
    """The least of 1, 2, 5, 10, 20, ... that is not below a figure."""
    if most <= 1:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in _STEPS if step * power >= most)


def figure_text(value: float) -> str:
    """A figure without needless digits."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def draw(chart: Chart) -> Markup:
    """The chart as an `svg` element."""
    parts = [*_axes(chart), *_bars(chart)]
    if chart.line is not None and chart.labels:
        parts.append(_line(chart, chart.line))
    if chart.level is not None:
        y = _y(chart.level.value, chart.top)
        parts.append(
            Markup('<path class="level {}" d="M{} {}H{}"/>').format(chart.level.kind, _LEFT, y, WIDTH - _RIGHT)
        )
    # No role of an image: its links would be hidden from a screen reader.
    return Markup(
        '<svg class="plot" viewBox="0 0 {w} {h}" aria-labelledby="{k}-title {k}-about">'
        '<title id="{k}-title">{title}</title><desc id="{k}-about">{about}</desc>{parts}</svg>'
    ).format(w=WIDTH, h=HEIGHT, k=chart.key, title=chart.title, about=chart.description, parts=Markup("").join(parts))


def _axes(chart: Chart) -> Iterator[Markup]:
    for share in (0.0, 0.5, 1.0):
        value = chart.top * share
        y = _y(value, chart.top)
        yield Markup('<path class="grid" d="M{} {}H{}"/>').format(_LEFT, y, WIDTH - _RIGHT)
        if value == round(value):
            yield Markup('<text class="figure" x="{}" y="{}" text-anchor="end">{}</text>').format(
                _LEFT - 4, _number(y + 4), figure_text(value)
            )
    for bar in chart.ticks:
        x = _number(_x(bar, chart) + _width(chart) / 2)
        yield Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            x, HEIGHT - 6, chart.labels[bar]
        )


def _bars(chart: Chart) -> Iterator[Markup]:
    gap = min(_MOST_GAP, _width(chart) / 4)
    for bar, label in enumerate(chart.labels):
        rects, below = [], 0.0
        for one in chart.bars:
            value = one.values[bar]
            if value > 0:
                kind = chart.kinds[bar] if chart.kinds else one.kind
                rects.append(_rect(chart, bar, below, value, kind, gap))
            below += value
        said = ", ".join(f"{one.name} {figure_text(one.values[bar])}" for one in chart.columns)
        inside = Markup("<title>{}: {}</title>{}").format(label, said, Markup("").join(rects))
        link = chart.links[bar] if chart.links else None
        yield Markup("<g>{}</g>").format(inside) if link is None else Markup('<a href="{}">{}</a>').format(link, inside)


def _rect(chart: Chart, bar: int, below: float, value: float, kind: str, gap: float) -> Markup:
    upper, lower = _y(below + value, chart.top), _y(below, chart.top)
    # What is more than nothing can be seen, and pointed at.
    height = max(1.5, lower - upper)
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind,
        _number(_x(bar, chart) + gap / 2),
        _number(lower - height),
        _number(_width(chart) - gap),
        _number(height),
    )


def _line(chart: Chart, line: Series) -> Markup:
    steps = [
        f"{'M' if bar == 0 else 'L'}{_number(_x(bar, chart))} {_y(value, chart.top)}h{_number(_width(chart))}"
        for bar, value in enumerate(line.values)
    ]
    return Markup('<path class="line {}" d="{}"/>').format(line.kind, "".join(steps))


def _width(chart: Chart) -> float:
    return _INNER_WIDTH / max(1, len(chart.labels))


def _x(bar: int, chart: Chart) -> float:
    return _LEFT + bar * _width(chart)


def _y(value: float, top: float) -> float:
    return _number(_TOP + _INNER_HEIGHT * (1 - min(value, top) / top))


def _number(value: float) -> float:
    return round(value, 1)
