"""The table as a plot: one row for each case, one mark for each policy, on a logarithmic axis."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.schedule.comparison import Table
from benchmarks.schedule.runs import Case
from benchmarks.schedule.workloads import HARD, SILENT, STUDY

TITLE = "How late the result of an order is learned whose callback never comes"
AXIS = "mean delay in minutes (logarithmic)"
GROUPS = (("The study", STUDY), ("Without any callback", SILENT), ("Made to hurt", HARD))
WIDTH, LEFT, RIGHT, TOP = 900, 160, 24, 84
ROW, HEADING, FOOT = 19, 28, 56
TICKS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class _Mark:
    color: str
    shape: str
    """An SVG path around (0, 0)."""


_CIRCLE = "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0z"
_DOT = "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z"
_SQUARE = "M-4-4h8v8h-8z"
_UP = "M0-5l5 9h-10z"
_DOWN = "M0 5l5-9h-10z"
_DIAMOND = "M0-5.5l5.5 5.5l-5.5 5.5l-5.5-5.5z"
# The last is on top. The color-blind can distinguish the colors; the shapes serve black-and-white prints.
_MARKS = {
    "oldest-first": _Mark("#8c8c8c", _SQUARE),
    "exponential-backoff": _Mark("#d55e00", _UP),
    "round-robin": _Mark("#e69f00", _DOWN),
    "informed": _Mark("#56b4e9", _DOT),
    "clairvoyant": _Mark("#009e73", _DIAMOND),
    "adaptive": _Mark("#0072b2", _CIRCLE),
}
_OTHER = _Mark("#000000", _DOT)


def write_plot(table: Table, path: Path) -> None:
    """Write the mean delays of a table as an SVG file. Raises `OSError` where it cannot be written."""
    path.write_text(plot(table), "utf-8")


def plot(table: Table) -> str:
    """The mean delays of a table as an SVG document."""
    groups = [(title, _cases(table, names)) for title, names in GROUPS]
    groups = [(title, cases) for title, cases in groups if cases]
    height = TOP + sum(HEADING + ROW * len(cases) for _, cases in groups) + FOOT
    axis = _Axis.around([row.mean / 60 for row in table.values()])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" font-family="system-ui, sans-serif" font-size="12" fill="#222222">',
        f"<title>{escape(TITLE)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="28" font-size="17" font-weight="600">{escape(TITLE)}</text>',
        *_legend(table),
        *_grid(axis, height),
        *_rows(table, axis, groups),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    @classmethod
    def around(cls, minutes: Sequence[float]) -> "_Axis":
        """From a tick below the least to a tick above the most."""
        seen = [value for value in minutes if value > 0] or [1.0]
        ticks = [step * 10.0**power for power in range(-4, 6) for step in TICKS]
        low = max((tick for tick in ticks if tick < min(seen)), default=ticks[0])
        high = min((tick for tick in ticks if tick > max(seen)), default=ticks[-1])
        return cls(low, high)

    def x(self, minutes: float) -> float:
        """The horizontal position of a delay."""
        share = math.log(max(minutes, self.low) / self.low) / math.log(self.high / self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> Iterator[float]:
        """1, 2 and 5 of each power of ten."""
        for power in range(-4, 6):
            yield from (tick for step in TICKS if self.low <= (tick := step * 10.0**power) <= self.high)


def _cases(table: Table, names: Collection[str]) -> list[Case]:
    return [case for case in dict.fromkeys(case for case, _ in table) if case.workload in names]


def _legend(table: Table) -> Iterator[str]:
    x = 16.0
    present = dict.fromkeys(policy for _, policy in table)
    for policy in sorted(present, key=_layer, reverse=True):
        yield _drawn(policy, x + 6, 54)
        yield f'<text x="{x + 17:g}" y="58">{escape(policy)}</text>'
        x += 40 + 6.6 * len(policy)


def _grid(axis: _Axis, height: int) -> Iterator[str]:
    bottom = height - FOOT + 6
    for tick in axis.ticks():
        x = axis.x(tick)
        color = "#cccccc" if math.log10(tick).is_integer() else "#ececec"
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{color}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:g}" y="{height - 14}" text-anchor="middle">{escape(AXIS)}</text>'
    yield f'<text x="16" y="{height - 14}">workload, orders per minute</text>'


def _rows(table: Table, axis: _Axis, groups: Sequence[tuple[str, Sequence[Case]]]) -> Iterator[str]:
    y = TOP
    for title, cases in groups:
        yield f'<text x="16" y="{y + 19}" font-weight="600">{escape(title)}</text>'
        y += HEADING
        for case in cases:
            middle = y + ROW / 2
            yield f'<line x1="{LEFT}" y1="{middle}" x2="{WIDTH - RIGHT}" y2="{middle}" stroke="#e4e4e4"/>'
            yield f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(case.title)}</text>'
            here = [policy for of_case, policy in table if of_case == case]
            for policy in sorted(here, key=_layer):
                minutes = table[case, policy].mean / 60
                yield _drawn(policy, axis.x(minutes), middle, f"{policy}, {case.title}: {minutes:.3g} minutes")
            y += ROW


def _layer(policy: str) -> int:
    return list(_MARKS).index(policy) if policy in _MARKS else -1


def _drawn(policy: str, x: float, y: float, says: str = "") -> str:
    mark = _MARKS.get(policy, _OTHER)
    said = f"<title>{escape(says)}</title>" if says else ""
    move = f"translate({x:.1f} {y:g})"
    return f'<path transform="{move}" d="{mark.shape}" fill="{mark.color}" stroke="#ffffff">{said}</path>'
